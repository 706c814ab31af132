package gateways

import (
	"testing"
	"time"
)

// BenchmarkClientStats measures what counting adds to a call.
func BenchmarkClientStats(b *testing.B) {
	var c outcomeCounters
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		func() (err error) {
			defer c.since(ctx, time.Now(), &err)
			return nil
		}()
	}
}
