package flowtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Breakage is a way in which the backend of a source breaks. See SourceBackend.Break.
type Breakage uint8

const (
	// LostConnection: the source's connections end, and new ones are refused. Reads and commits fail.
	LostConnection Breakage = iota
	// FailedOpen: the source cannot be opened.
	FailedOpen
	// FailedRead: reads fail, everything else works.
	FailedRead
	// FailedCommit: commits fail, everything else works.
	FailedCommit
)

var breakages = []Breakage{LostConnection, FailedOpen, FailedRead, FailedCommit}

// String names the breakage.
func (b Breakage) String() string {
	return [...]string{"lost connection", "failed open", "failed read", "failed commit", "unknown"}[min(int(b), 4)]
}

// breaks runs the tests of a backend that breaks.
func (s *sourceSuite[T]) breaks(t *testing.T) {
	for _, how := range breakages {
		s.run(t, how.String(), func(t *testing.T) { s.repaired(t, how) })
		s.run(t, "stop after "+how.String(), func(t *testing.T) { s.stopsBroken(t, how) })
	}
}

// broken is a running graph with a broken backend. An operation of its source has failed.
type broken[T any] struct {
	backend SourceBackend[T]
	values  []T
	got     *Collector[T]
	r       *flow.Running
	repair  func()
}

// broken starts a graph and breaks the backend. For FailedOpen it breaks it before the start, and else while the
// sink is blocked with some of the values: then there are entries to commit and entries to read.
func (s *sourceSuite[T]) broken(
	t *testing.T, how Breakage, start func(testing.TB, ...flow.Part) *flow.Running,
) *broken[T] {
	n := min(s.Many, 100)
	b := &broken[T]{values: makeAll(n, s.Make)}
	b.backend = s.open(t, b.values)
	if b.backend.Break == nil {
		t.Skip("the backend has no Break")
	}
	sink, got := s.collect(t)
	b.got = got
	opts := []flow.StageOption{flow.MaxInFlight(max(1, n/5)), flow.ChunkSize(max(1, n/10))}
	var struck func() bool
	strike := func() {
		struck, b.repair = b.backend.Break(how)
		if struck == nil || b.repair == nil {
			got.Unblock()
			t.Skipf("the backend cannot be broken by a %s", how)
		}
	}
	begin := func() {
		b.r = start(t, flow.To(b.backend.Open(opts...), sink),
			flow.Restarts(1000, time.Minute, 10*time.Millisecond))
	}
	if how == FailedOpen {
		strike()
		begin()
	} else {
		got.Block()
		begin()
		got.WaitBlocked()
		strike()
		got.Unblock()
	}
	for deadline := time.Now().Add(s.Patience); !struck(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("after a %s no operation of the source has failed in %v", how, s.Patience)
			break
		}
	}
	return b
}

// repaired repairs the backend, and checks that all values arrive. If the breakage is fatal the graph must have
// ended with an error. Then another source delivers the rest, if the source resumes.
func (s *sourceSuite[T]) repaired(t *testing.T, how Breakage) {
	fatal := slices.Contains(s.Fatal, how)
	start := s.start
	if fatal {
		start = Start // a commit that fails until the repair must not delay the end
	}
	b := s.broken(t, how, start)
	if !fatal {
		b.repair()
		s.waitForAll(t, b.values, b.got)
		s.end(t, b.r)
		s.nothingLost(t, b.values, b.got.Messages(), s.Redelivers || s.Resumes)
		s.settled(t, b.backend)
		return
	}
	if !soon(b.r.Done(), s.Patience) {
		t.Errorf("a %s is to end the graph: it still runs after %v", how, s.Patience)
		_ = b.r.Stop()
	} else if err := b.r.Wait(); err == nil {
		t.Errorf("a %s is to end the graph with an error, and it ended with none", how)
	}
	b.repair()
	if !s.Resumes {
		s.nothingExtra(t, b.values, b.got.Messages(), false)
		return
	}
	sink, rest := s.collect(t)
	r := s.start(t, flow.To(b.backend.Open(), sink))
	s.waitForAll(t, b.values, b.got, rest)
	s.end(t, r)
	s.nothingLost(t, b.values, append(b.got.Messages(), rest.Messages()...), true)
	s.settled(t, b.backend)
}

// stopsBroken stops the graph while the backend is broken. That may fail, and it must end.
func (s *sourceSuite[T]) stopsBroken(t *testing.T, how Breakage) {
	b := s.broken(t, how, func(t testing.TB, parts ...flow.Part) *flow.Running {
		parts = append(parts, flow.AckTimeout(100*time.Millisecond))
		r, err := flow.New(t.Name(), parts...).Start(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Fatalf("flowtest: start: %v", err)
		}
		t.Cleanup(func() { _ = r.Stop() })
		return r
	})
	_ = b.r.Stop() // entries that could not be committed are an error, and stay in flight
	b.repair()
	s.nothingExtra(t, b.values, b.got.Messages(), s.Redelivers || s.Resumes)
}

// waitForAll waits until each value has arrived at one of the collectors.
func (s *sourceSuite[T]) waitForAll(t *testing.T, values []T, all ...*Collector[T]) {
	t.Helper()
	last := all[len(all)-1]
	seen := make(map[string]bool)
	for _, c := range all[:len(all)-1] {
		maps.Copy(seen, setOf(c.Values()))
	}
	next := 0
	if !last.await(func() bool {
		for ; next < len(last.msgs); next++ {
			seen[fmt.Sprintf("%+v", last.msgs[next].Value)] = true
		}
		return len(seen) >= len(values)
	}) {
		t.Errorf("%d different values have arrived after %v, want %d", len(seen), s.Patience, len(values))
	}
}

// nothingLost checks that each value has arrived. It also makes the checks of nothingExtra.
func (s *sourceSuite[T]) nothingLost(t *testing.T, values []T, got []flow.Message[T], again bool) {
	t.Helper()
	have := make(map[string]bool, len(got))
	for _, m := range got {
		have[fmt.Sprintf("%+v", m.Value)] = true
	}
	var lost []string
	for _, k := range printed(values) {
		if !have[k] {
			lost = append(lost, k)
		}
	}
	if len(lost) > 0 {
		t.Errorf("%d values are lost: %s", len(lost), short(lost))
	}
	s.nothingExtra(t, values, got, again)
}

// nothingExtra checks that only values of the backend have arrived, and none twice. If again is
// set, a value may arrive again; a source that redelivers sets its Attempt.
func (s *sourceSuite[T]) nothingExtra(t *testing.T, values []T, got []flow.Message[T], again bool) {
	t.Helper()
	known := setOf(values)
	attempts := make(map[string]int)
	for _, m := range got {
		k := fmt.Sprintf("%+v", m.Value)
		before, twice := attempts[k]
		switch {
		case !known[k]:
			t.Errorf("value %s has arrived, and is not in the backend", k)
		case twice && !again:
			t.Errorf("value %s has arrived twice, and the traits say neither Redelivers nor Resumes", k)
		case twice && s.Redelivers && m.Attempt() <= before:
			t.Errorf("value %s has arrived as attempt %d, and then as attempt %d", k, before, m.Attempt())
		}
		attempts[k] = m.Attempt()
	}
}
