package source_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/source"
)

// Each tick is handled once, no matter how many processes run this.
func ExampleTicks() {
	rdb, end := serverWith()
	defer end()

	next := func(after time.Time) time.Time {
		return after.Truncate(20 * time.Millisecond).Add(20 * time.Millisecond)
	}
	ticks := source.Ticks(
		rdb,
		source.TicksConfig{
			Next:   next,
			Key:    "ticks",
			Group:  "reports",
			Tuning: reader.Tuning{Block: 50 * time.Millisecond},
		},
	)
	for tick, err := range flow.Values(context.Background(), ticks) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("a multiple of 20 ms:", tick.Time.UnixMilli()%20 == 0)
		break
	}
	// Output: a multiple of 20 ms: true
}
