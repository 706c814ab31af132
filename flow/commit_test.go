package flow

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// What has settled of a chunk is committed while its lane sits in the next message, also when the chunk came to a committer
// at rest: it is to look by itself again. The lane has flushed less than flushAfter ago, so it tells of nothing before it is
// through.
func TestCommitterAtRestLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newScript(2)
		src.forever, src.every = true, flushAfter/2
		slow := mapTo(src.source(), func(_ context.Context, v int) (int, error) {
			if v == 1 {
				time.Sleep(time.Hour)
			}
			return v, nil
		})
		r := start(t, New("g", To(slow, (&bag[int]{}).sink(ChunkSize(1)))))
		time.Sleep(time.Second)
		synctest.Wait()
		src.mu.Lock()
		if n := len(src.settled[0]); n != 1 || len(src.settled) != 1 {
			t.Errorf("%d entries committed, the first %d times; want it alone, and once", len(src.settled), n)
		}
		src.mu.Unlock()
		time.Sleep(time.Hour)
		if _, err := r.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		src.wantAllAcked(t)
	})
}
