package cron_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/source"
	"github.com/streamerson/streamerson-go/source/cron"
)

// Each tick is handled once, no matter how many processes run this.
func ExampleSource() {
	rdb, _, done, err := embedded.Open(context.Background(), "")
	if err != nil {
		log.Fatal(err)
	}
	defer done()

	cfg := source.TicksConfig{Key: "ticks", Group: "reports", Tuning: reader.Tuning{Block: 50 * time.Millisecond}}
	for tick, err := range flow.Values(context.Background(), cron.Source(rdb, "@every 20ms", cfg)) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("a multiple of 20 ms:", tick.Time.UnixMilli()%20 == 0)
		break
	}
	// Output: a multiple of 20 ms: true
}

func ExampleNext() {
	next, err := cron.Next("30 9 * * MON-FRI", time.UTC)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(next(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC))) // a Friday
	// Output: 2026-01-05 09:30:00 +0000 UTC
}
