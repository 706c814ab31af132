package flowtest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/sink"
)

// TestCommitsWhileALaneIsBusy: what is done of a chunk is committed while its lane sits in the next handler, also when the
// chunk came to a graph at rest.
func TestCommitsWhileALaneIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, feed := flowtest.Feed[int](t)
		r := flowtest.Start(t, flow.To(src, sink.Func(func(ctx context.Context, v int) error {
			if v%2 == 1 {
				time.Sleep(time.Hour)
			}
			return nil
		})))
		for round := range 3 {
			time.Sleep(time.Minute)
			feed.Send(2*round, 2*round+1)
			time.Sleep(time.Second)
			synctest.Wait()
			if n := len(feed.Settlements()); n != 2*round+1 {
				t.Errorf("round %d: %d settled, want %d: the first is done", round, n, 2*round+1)
			}
			time.Sleep(time.Hour)
		}
		feed.Close()
		if err := r.Wait(); err != nil {
			t.Error(err)
		}
	})
}
