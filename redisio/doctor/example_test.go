package doctor_test

import (
	"context"
	"fmt"

	"github.com/streamerson/streamerson-go/redisio/doctor"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
)

// A deployment may refuse a server that would lose streams.
func ExampleExamine() {
	ctx := context.Background()
	rdb, done := rig.Server(ctx)
	defer done()
	report, err := doctor.Examine(ctx, rdb, doctor.Options{Quick: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range report.Findings {
		if f.Check == "persistence/kept" {
			fmt.Println(f.Severity, f.Text)
		}
	}
	fmt.Println("worst:", report.Worst())
	// Output:
	// warning neither appendonly nor save is on: a restart loses all streams, groups and scheduled entries
	// worst: warning
}
