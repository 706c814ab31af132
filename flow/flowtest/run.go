package flowtest

import (
	"context"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Start starts a graph of the parts, named after the test. When the test ends it drains the graph
// if it still runs, and checks that it has ended, has nothing in flight, and has returned all
// credits.
func Start(t testing.TB, parts ...flow.Part) *flow.Running {
	t.Helper()
	g := flow.New(t.Name(), parts...)
	r, err := g.Start(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatalf("flowtest: start: %v", err)
	}
	t.Cleanup(func() {
		select {
		case <-r.Done():
		default:
			if t.Failed() { // it may never end by itself
				_ = r.Stop()
			} else if _, err := r.Drain(context.Background()); err != nil {
				t.Errorf("flowtest: drain at the end of the test: %v", err)
			}
		}
		ended(t, g, r)
	})
	return r
}

// patiently lets a graph with real I/O end by itself although the backend is slow.
func patiently(realTime bool, patience time.Duration, parts []flow.Part) []flow.Part {
	if !realTime {
		return parts
	}
	drain, ack := max(patience, 30*time.Second), max(patience, 5*time.Second) // the defaults at least
	return append(parts, flow.DrainTimeout(drain), flow.AckTimeout(ack))
}

// longest is how long Run waits. In a bubble a blocked graph lets virtual time pass at once.
const longest = 24 * time.Hour

// Run runs a graph of the parts to its end, with the checks of Start, and returns how it ended. A
// graph that has not ended after a day, which is virtual in a synctest bubble, fails the test and
// is stopped.
func Run(t testing.TB, parts ...flow.Part) error {
	t.Helper()
	return waitFor(t, Start(t, parts...))
}

// waitFor waits for the end of a graph as Run does.
func waitFor(t testing.TB, r *flow.Running) error {
	t.Helper()
	if !soon(r.Done(), longest) {
		t.Errorf("flowtest: the graph has not ended after %v: what does it wait for?", longest)
		_ = r.Stop() // Wait returns the error
	}
	return r.Wait()
}

// ended checks the conditions that hold at the end of any graph.
func ended(t testing.TB, g *flow.Graph, r *flow.Running) {
	t.Helper()
	done, cancel := context.WithCancel(context.Background())
	cancel() // Status need not ask the backends
	s := r.Snapshot(done)
	if s.State != flow.Ended {
		t.Errorf("flowtest: graph %q is %s, want ended", s.Graph, s.State)
	}
	bytes := make(map[string]int)
	for _, d := range g.Describe().Stages {
		bytes[d.Name] = d.MaxBytes
	}
	for _, src := range s.Sources {
		if src.InFlight != 0 || src.BytesFree != bytes[src.Name] {
			t.Errorf("flowtest: source %q has %d entries in flight and %d of %d byte credits at the end",
				src.Name, src.InFlight, src.BytesFree, bytes[src.Name])
		}
	}
	for _, e := range s.Edges {
		if e.Fill != 0 {
			t.Errorf("flowtest: %d chunks are left between %q and %q", e.Fill, e.From, e.To)
		}
	}
}
