package flow_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
)

// counting is a Reader and a Writer that counts its calls.
type counting struct {
	calls atomic.Uint64
	fails bool
}

func (c *counting) Read(_ context.Context, in *flow.Intake[int]) error {
	if c.calls.Add(1) > 2 {
		return io.EOF
	}
	in.AddValue(1)
	if c.fails && c.calls.Load() == 2 {
		return errors.New("read failed")
	}
	return nil
}

func (c *counting) Write(context.Context, []flow.Message[int]) error { c.calls.Add(1); return nil }

func (c *counting) Counts(add func(string, uint64)) { add("calls", c.calls.Load()) }

// panicking is a Writer with a method Counts that panics after its first count.
type panicking struct{ counting }

func (p *panicking) Counts(add func(string, uint64)) {
	add("calls", p.calls.Load())
	panic("no more")
}

// The counts of a stage include all its lives and workers.
func TestCountsOfAStage(t *testing.T) {
	lives := 0
	from := flow.NewSource("from", func() flow.Reader[int] {
		lives++
		return &counting{fails: lives == 1}
	})
	to := flow.NewSink("to", func() flow.Writer[int] { return new(panicking) }, flow.Workers(2), flow.Unordered(),
		flow.ChunkSize(1))
	g := flow.New("counted", flow.To(from, to), flow.Restarts(1, time.Minute, time.Millisecond))
	r, err := g.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]uint64)
	for _, st := range r.Snapshot(t.Context()).Stages {
		got[st.Name] = st.Counts["calls"]
		if want := map[string]int{"from": 1, "to": 2}[st.Name]; st.Workers != want {
			t.Errorf("%s has %d workers, want %d", st.Name, st.Workers, want)
		}
	}
	// The first life reads twice and fails. The second reads twice and ends.
	if diff := cmp.Diff(map[string]uint64{"from": 5, "to": 4}, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// A stage without a Counter has no counts, also if its Reader or Writer cannot be compared.
func TestNoCounts(t *testing.T) {
	g := flow.New("plain", flow.To(from(1, 2), discard[int]()))
	r, err := g.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, st := range r.Snapshot(t.Context()).Stages {
		if st.Counts != nil {
			t.Errorf("%s counts %v", st.Name, st.Counts)
		}
	}
}
