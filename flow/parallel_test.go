package flow

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// Without order, a worker receives several quick messages at a time. If one of them turns out to be
// slow, the others must still be handled. Here the slow one waits for them.
func TestSlowMessageAmongQuickOnes(t *testing.T) {
	for _, slow := range []int{2000, 2990} { // the input continues, or has ended
		t.Run(itoa(slow), func(t *testing.T) { testSlowMessage(t, slow) })
	}
}

func testSlowMessage(t *testing.T, slow int) {
	const n = 3000
	src := newScript(n)
	var handled atomic.Int32
	others := make(chan struct{})
	out := &bag[int]{}
	g := New("g", To(mapTo(src.source(), func(ctx context.Context, v int) (int, error) {
		if v == slow {
			select {
			case <-others:
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			}
		} else if handled.Add(1) == n-1 {
			close(others)
		}
		return v, nil
	}, Workers(4), Unordered()), out.sink()))
	if err := g.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	src.wantAllAcked(t)
}

// Messages in a worker's share go back when the graph is stopped.
func TestShareIsGivenBack(t *testing.T) {
	const n, last = 3000, 2500
	src := newScript(n)
	stopped := make(chan struct{})

	stuck := mapTo(src.source(), func(ctx context.Context, v int) (int, error) {
		if v < last {
			return v, nil
		}
		if v == last {
			close(stopped)
		}
		<-ctx.Done()
		return v, context.Cause(ctx)
	}, Workers(2), Unordered())
	g := start(t, New("g", To(stuck, (&bag[int]{}).sink()), KillGrace(time.Minute)))
	<-stopped
	_ = g.Stop()
	src.mu.Lock()
	defer src.mu.Unlock()
	for v := range src.next {
		if len(src.settled[v]) != 1 {
			t.Fatalf("entry %d was settled %d times", v, len(src.settled[v]))
		}
	}
}

// A stop may end the workers before the feeder: their queue is closed after both.
func TestWorkersStopWhileFed(t *testing.T) {
	for name, opts := range map[string][]StageOption{
		"ordered": {Workers(4)}, "unordered": {Workers(4), Unordered()},
		"keyed": {Workers(4), KeyedBy(func(v int) int { return v })},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				src, out := newScript(1_000_000), &bag[int]{}
				r := start(t, New("g", To(mapTo(src.source(), double, opts...), out.sink()), KillGrace(time.Minute)))
				for src.unsettled() == 0 {
					runtime.Gosched()
				}
				if err := r.Stop(); err != nil {
					t.Fatal(err)
				}
				if n := src.unsettled(); n > 0 {
					t.Fatalf("%d entries are neither acked nor given back", n)
				}
			}
		})
	}
}

// A source deals its chunks to unordered workers itself. They are counted as if the edge had carried
// them.
func TestSourceDealsToUnorderedWorkers(t *testing.T) {
	src, out := newScript(100), &bag[int]{}
	r := start(t, New("g", To(mapTo(src.source(), double, Workers(4), Unordered()), out.sink())))
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	src.wantAllAcked(t)
	if e := r.Snapshot(t.Context()).Edges[0]; e.Messages != 100 || e.Fill != 0 {
		t.Errorf("got %+v, want 100 messages, and none that waits", e)
	}
}
