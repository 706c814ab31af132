package flowtest

import (
	"cmp"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// TestSink tests that a sink keeps the promises of its traits. Everything acked is written, once
// and in order as long as nothing fails, for all chunk sizes. Messages that are not written are not
// acked. The sink drains and stops, and can be opened again. open makes a backend for one test; it
// cleans up with t.Cleanup. Unless the traits set Real, each test runs in a bubble.
func TestSink[T any](t *testing.T, traits SinkTraits[T], open func(t *testing.T) SinkBackend[T]) {
	t.Helper()
	s := &sinkSuite[T]{SinkTraits: traits, open: open}
	s.Many = cmp.Or(s.Many, 1000)
	s.Patience = cmp.Or(s.Patience, patience)
	run := func(name string, f func(t *testing.T)) {
		runIn(t, name, s.Real, limitOf(s.Limit, s.Patience, s.Real), f)
	}
	for _, n := range []int{0, 1, 2, s.Many} {
		run(fmt.Sprintf("%d values", n), func(t *testing.T) { s.passes(t, n) })
	}
	run("one credit", func(t *testing.T) { s.passes(t, min(s.Many, 20), flow.MaxInFlight(1)) })
	run("small chunks", func(t *testing.T) { s.passes(t, min(s.Many, 100), flow.ChunkSize(3)) })
	run("drain", s.drains)
	run("stop", s.stops)
	run("open again", s.again)
	run("two at once", s.together)
	run("broken for a while", s.broken)
}

type sinkSuite[T any] struct {
	SinkTraits[T]
	open func(t *testing.T) SinkBackend[T]
}

func (s *sinkSuite[T]) feed(t *testing.T, opts ...flow.StageOption) (flow.Source[T], *Feeder[T]) {
	src, feed := Feed[T](t, FeedStage(opts...), Redeliver(1000))
	feed.Patience = s.Patience
	return src, feed
}

func (s *sinkSuite[T]) start(t *testing.T, parts ...flow.Part) *flow.Running {
	t.Helper()
	return Start(t, patiently(s.Real, s.Patience, parts)...)
}

func (s *sinkSuite[T]) written(t *testing.T, b SinkBackend[T]) []T {
	t.Helper()
	got, err := b.Written()
	if err != nil {
		t.Errorf("written: %v", err)
	}
	return got
}

func (s *sinkSuite[T]) passes(t *testing.T, n int, opts ...flow.StageOption) {
	b := s.open(t)
	src, feed := s.feed(t, opts...)
	values := makeAll(n, s.Make)
	feed.Send(values...)
	feed.Close()
	if err := waitFor(t, s.start(t, flow.To(src, b.Open()))); err != nil {
		t.Fatal(err)
	}
	wantList(t, "written", s.Order, values, s.written(t, b))
	feed.wantAllAcked(n)
}

func (s *sinkSuite[T]) drains(t *testing.T) {
	b := s.open(t)
	src, feed := s.feed(t)
	values := makeAll(min(s.Many, 100), s.Make)
	r := s.start(t, flow.To(src, b.Open()))
	feed.Send(values...)
	feed.await(func() bool { return len(feed.settled) > 0 })
	if report, err := r.Drain(context.Background()); err != nil || report.Released != 0 {
		t.Errorf("drain: %v, %d entries given back, want none", err, report.Released)
	}
	s.ackedAreWritten(t, feed, s.written(t, b))
}

// ackedAreWritten checks that all acked messages are written.
func (s *sinkSuite[T]) ackedAreWritten(t *testing.T, feed *Feeder[T], written []T) {
	t.Helper()
	have := setOf(written)
	for _, st := range feed.Settlements() {
		if k := fmt.Sprintf("%+v", st.Value); st.Outcome == flow.Acked && !have[k] {
			t.Errorf("%s was acked and is not written", k)
		}
	}
}

func (s *sinkSuite[T]) stops(t *testing.T) {
	b := s.open(t)
	src, feed := s.feed(t)
	r := s.start(t, flow.To(src, b.Open()))
	feed.Send(makeAll(s.Many, s.Make)...)
	if err := r.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	s.ackedAreWritten(t, feed, s.written(t, b))
}

// again runs two graphs one after the other.
func (s *sinkSuite[T]) again(t *testing.T) {
	b := s.open(t)
	values := makeAll(20, s.Make)
	for _, part := range [][]T{values[:10], values[10:]} {
		src, feed := s.feed(t)
		feed.Send(part...)
		feed.Close()
		if err := waitFor(t, s.start(t, flow.To(src, b.Open()))); err != nil {
			t.Fatal(err)
		}
		feed.wantAllAcked(10)
	}
	wantList(t, "written", s.Order, values, s.written(t, b))
}

// together runs two graphs that write to one backend.
func (s *sinkSuite[T]) together(t *testing.T) {
	b := s.open(t)
	values := makeAll(100, s.Make)
	var runs []*flow.Running
	for _, part := range [][]T{values[:50], values[50:]} {
		src, feed := s.feed(t)
		feed.Send(part...)
		feed.Close()
		runs = append(runs, s.start(t, flow.To(src, b.Open())))
	}
	for _, r := range runs {
		if err := waitFor(t, r); err != nil {
			t.Error(err)
		}
	}
	if d := bagDiff(values, s.written(t, b)); d != "" {
		t.Errorf("written (-want +got):\n%s", d)
	}
}

// broken makes writes fail for a while: nothing may be lost. Values may be written twice, if the
// sink cannot know.
func (s *sinkSuite[T]) broken(t *testing.T) {
	b := s.open(t)
	if b.Break == nil {
		t.Skip("the backend cannot be broken")
	}
	src, feed := s.feed(t)
	n := min(s.Many, 50)
	values := makeAll(n, s.Make)
	mend := b.Break()
	r := s.start(
		t,
		flow.To(src, b.Open(), flow.OnFault(flow.Retry(5, 10*time.Millisecond, flow.NackAfter(50*time.Millisecond)))),
		flow.Restarts(1000, time.Minute, 10*time.Millisecond),
	)
	feed.Send(values...)
	faults := func() (n uint64) {
		for _, st := range r.Snapshot(context.Background()).Stages {
			n += st.Faults + st.Restarts
		}
		return n
	}
	for deadline := time.Now().Add(s.Patience); faults() == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if faults() == 0 {
		t.Error("the backend is broken and nothing failed")
	}
	mend()
	feed.await(func() bool {
		acked := 0
		for _, st := range feed.settled {
			if st.Outcome == flow.Acked {
				acked++
			}
		}
		return acked >= n
	})
	feed.Close()
	if err := waitFor(t, r); err != nil {
		t.Error(err)
	}
	feed.WantAcked(values...)
	s.ackedAreWritten(t, feed, s.written(t, b))
}
