package flow

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A stage gets more and more messages at once, but one at a time once they are slow, also if their
// leases can be lost.
func TestBatchesGrowWhileMessagesAreQuick(t *testing.T) {
	for _, leased := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			la := newLane(&Running{})
			la.run.lanes.leased.Store(leased)
			chunk := make([]Message[int], 100)
			var sizes []int
			push := func(batch []Message[int]) {
				sizes = append(sizes, len(batch))
				if len(sizes) > 10 {
					time.Sleep(time.Duration(len(batch)) * 2 * slowAfter)
				}
			}
			la.ctx = context.Background()
			la.clock, la.flushed = time.Now(), time.Now()
			for range 3 {
				pushAll(la, chunk, push)
			}
			want := []int{1, 1, 2, 4, 8, 16, 32, 36, 28, 64, 8, 56, 1, 1}
			if got := sizes[:len(want)]; !slices.Equal(got, want) {
				t.Errorf("batches of %v, want %v", got, want)
			}
		})
	}
}
