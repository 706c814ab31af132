package flowtest

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/streamerson/streamerson-go/flow"
)

// TestSource tests that a source keeps the promises of its traits. Each test calls open once to
// make its backend with the given values. open cleans up with t.Cleanup. Unless the traits set
// Real, each test runs in a bubble.
func TestSource[T any](
	t *testing.T, traits SourceTraits[T], open func(t *testing.T, values []T) SourceBackend[T],
) {
	t.Helper()
	s := &sourceSuite[T]{SourceTraits: traits, open: open}
	s.Many = cmp.Or(s.Many, 1000)
	s.Patience = cmp.Or(s.Patience, patience)
	for _, n := range []int{0, 1, 2, s.Many} {
		s.run(t, fmt.Sprintf("%d values", n), func(t *testing.T) { s.passes(t, n) })
	}
	s.run(t, "one credit", func(t *testing.T) { s.passes(t, min(s.Many, 20), flow.MaxInFlight(1)) })
	s.run(t, "small chunks", func(t *testing.T) { s.passes(t, min(s.Many, 100), flow.ChunkSize(3)) })
	s.run(t, "sink blocks", s.blocks)
	s.run(t, "stop at once", s.stopsAtOnce)
	if s.Redelivers {
		s.run(t, "nack", s.nacks)
	}
	if s.DeadLetters {
		s.run(t, "dead letter", s.dead)
	}
	if s.Resumes {
		s.run(t, "resume after stop", s.resumes)
	}
	s.breaks(t)
}

type sourceSuite[T any] struct {
	SourceTraits[T]
	open func(t *testing.T, values []T) SourceBackend[T]
}

func (s *sourceSuite[T]) run(t *testing.T, name string, f func(t *testing.T)) {
	runIn(t, name, s.Real, limitOf(s.Limit, s.Patience, s.Real), f)
}

func makeAll[T any](n int, make_ func(i int) T) []T {
	values := make([]T, n)
	for i := range values {
		values[i] = make_(i)
	}
	return values
}

// collect makes a sink with the patience of the traits.
func (s *sourceSuite[T]) collect(t *testing.T, opts ...flow.StageOption) (flow.Sink[T], *Collector[T]) {
	sink, got := Collect[T](t, opts...)
	got.Patience = s.Patience
	return sink, got
}

func (s *sourceSuite[T]) start(t testing.TB, parts ...flow.Part) *flow.Running {
	t.Helper()
	return Start(t, patiently(s.Real, s.Patience, parts)...)
}

// end waits for the source's end, or drains it if it is endless.
func (s *sourceSuite[T]) end(t *testing.T, r *flow.Running) {
	t.Helper()
	if s.Endless {
		if _, err := r.Drain(context.Background()); err != nil {
			t.Errorf("drain: %v", err)
		}
		return
	}
	if !soon(r.Done(), s.Patience) {
		t.Errorf("the source has not ended after %v", s.Patience)
		_ = r.Stop()
	} else if err := r.Wait(); err != nil {
		t.Errorf("the graph ended with %v", err)
	}
}

func (s *sourceSuite[T]) settled(t *testing.T, b SourceBackend[T]) {
	t.Helper()
	if b.Pending == nil {
		return
	}
	if n, err := b.Pending(); err != nil || n != 0 {
		t.Errorf("%d entries are pending in the backend, want none (error: %v)", n, err)
	}
}

func (s *sourceSuite[T]) passes(t *testing.T, n int, opts ...flow.StageOption) {
	values := makeAll(n, s.Make)
	b := s.open(t, values)
	sink, got := s.collect(t)
	r := s.start(t, flow.To(b.Open(opts...), sink))
	got.Wait(n)
	s.end(t, r)
	wantList(t, "values", s.Order, values, got.Values())
	s.settled(t, b)
}

// blocks blocks the sink, then unblocks it: no more entries than credits may be in flight.
func (s *sourceSuite[T]) blocks(t *testing.T) {
	n := min(s.Many, 100)
	credits := max(1, n/5)
	values := makeAll(n, s.Make)
	b := s.open(t, values)
	sink, got := s.collect(t)
	got.Block()
	r := s.start(t, flow.To(b.Open(flow.MaxInFlight(credits)), sink))
	got.WaitBlocked()
	if !s.Real {
		synctest.Wait()
	}
	for _, src := range r.Snapshot(context.Background()).Sources {
		if src.InFlight > credits {
			t.Errorf("%d entries are in flight, there are %d credits", src.InFlight, credits)
		}
	}
	if b.Pending != nil {
		if n, err := b.Pending(); err != nil || n > credits {
			t.Errorf("%d entries are pending, there are %d credits (error: %v)", n, credits, err)
		}
	}
	got.Unblock()
	got.Wait(n)
	s.end(t, r)
	wantList(t, "values", s.Order, values, got.Values())
	s.settled(t, b)
}

func (s *sourceSuite[T]) stopsAtOnce(t *testing.T) {
	b := s.open(t, makeAll(10, s.Make))
	sink, _ := s.collect(t)
	r := s.start(t, flow.To(b.Open(), sink))
	if err := r.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// once fails the first write of some of the values.
func (s *sourceSuite[T]) once() func(flow.Message[T]) error {
	var mu sync.Mutex
	failed := make(map[string]bool)
	return func(m flow.Message[T]) error {
		mu.Lock()
		defer mu.Unlock()
		k := fmt.Sprintf("%+v", m.Value)
		if len(failed) < 3 && !failed[k] {
			failed[k] = true
			return errBad
		}
		return nil
	}
}

// nacks gives some entries back: they must be redelivered as a later attempt.
func (s *sourceSuite[T]) nacks(t *testing.T) {
	n := min(s.Many, 20)
	values := makeAll(n, s.Make)
	b := s.open(t, values)
	sink, got := s.collect(t, flow.OnFault(flow.Nack))
	got.FailOn(s.once())
	r := s.start(t, flow.To(b.Open(), sink))
	got.Wait(n)
	s.end(t, r)
	if d := bagDiff(values, got.Values()); d != "" {
		t.Errorf("values (-want +got):\n%s", d)
	}
	again := 0
	for _, m := range got.Messages() {
		if m.Attempt() > 1 {
			again++
		}
	}
	if again != min(3, n) {
		t.Errorf("%d messages came with a later attempt, want %d", again, min(3, n))
	}
	s.settled(t, b)
}

// dead dead-letters some entries: they must not be redelivered.
func (s *sourceSuite[T]) dead(t *testing.T) {
	n := min(s.Many, 20)
	b := s.open(t, makeAll(n, s.Make))
	sink, got := s.collect(t, flow.OnFault(flow.DeadLetter))
	got.FailOn(s.once())
	r := s.start(t, flow.To(b.Open(), sink))
	got.Wait(n - min(3, n))
	s.end(t, r)
	if have := len(got.Values()); have != n-min(3, n) {
		t.Errorf("%d values were written, want %d", have, n-min(3, n))
	}
	s.settled(t, b)
}

// resumes stops in the middle, and continues with another source: together they must deliver all
// values.
func (s *sourceSuite[T]) resumes(t *testing.T) {
	n := s.Many
	values := makeAll(n, s.Make)
	b := s.open(t, values)
	sink, got := s.collect(t, flow.ChunkSize(7))
	got.AroundWrite(func(ctx context.Context, call func() error) error {
		if len(got.Values()) >= min(n, 35) {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		return call()
	})
	r := s.start(t, flow.To(b.Open(flow.MaxInFlight(50)), sink))
	got.Wait(min(n, 35))
	if err := r.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	first := len(got.Values())
	rest, after := s.collect(t)
	r = s.start(t, flow.To(b.Open(), rest))
	after.Wait(n - first)
	s.end(t, r)
	if d := bagDiff(values, append(got.Values(), after.Values()...)); d != "" {
		t.Errorf("values of both (-want +got):\n%s", d)
	}
	s.settled(t, b)
}
