package flow

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// The settled part of a chunk is committed while its lane is busy with the next message. This holds
// even if the committer was idle when the chunk arrived, because the committer checks again by
// itself. The lane flushed less than flushAfter ago, so it reports nothing before it has finished.
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

// A commit that can never succeed ends the graph at once. Only the last settlements are tried again,
// once, because what refused the first may accept them.
func TestPermanentCommitErrorEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newScript(10)
		src.forever = true
		wrong := Permanent(errors.New("WRONGTYPE"))
		src.commits = func() error { return wrong }
		began := time.Now()
		err := New("g", To(mapTo(src.source(), double), (&bag[int]{}).sink())).Run(t.Context())
		if !errors.Is(err, wrong) {
			t.Errorf("ended with %v", err)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("ended after %v", d)
		}
	})
}

// Commits in quick succession are combined. A commit after a pause is not delayed, and neither is a
// commit at the end.
func TestCommitsAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newScript(101)
		src.every, src.perRead = gatherFor/10, 1
		commits := 0
		src.commits = func() error { commits++; return nil }
		began := time.Now()
		if err := New("g", To(mapTo(src.source(), double), (&bag[int]{}).sink())).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if commits < 8 || commits > 13 || time.Since(began) > 102*src.every {
			t.Errorf("%d commits in %v, want one for ten entries or so", commits, time.Since(began))
		}
		src.wantAllAcked(t)
	})
}

// A settlement does not wake a committer that gathers more of them, unless the end of the source or
// its next read waits for the commit.
func TestGatheringIsNotInterrupted(t *testing.T) {
	for name, c := range map[string]struct {
		gathers, over bool
		free, wakes   int
	}{
		"at rest":                  {false, false, 10, 1},
		"gathers":                  {true, false, 10, 0},
		"credits are short":        {true, false, 4, 1},
		"the source is at its end": {true, true, 10, 1},
	} {
		n := &node{}
		n.maxInFlight, n.maxBytes = 10, 10
		s := &sourceRun{stageRun: &stageRun{node: n}, free: c.free, bytes: 10, pace: readAhead{window: 10}}
		ses := &session{source: s, wakeup: make(chan struct{}, 1), over: c.over}
		ses.gathers.Store(c.gathers)
		ses.tell()
		if got := len(ses.wakeup); got != c.wakes {
			t.Errorf("%s: woken %d times, want %d", name, got, c.wakes)
		}
	}
}
