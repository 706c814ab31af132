package sink_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// Tests named after defects of other systems; see defects_list_test.go of package source.

// One bad command failed its pipeline, and the whole pipeline was sent again, which duplicated its
// good commands.
func TestB5_OneBadCommandDoesNotRepeatItsNeighbours(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	ctx := t.Context()
	rdb.Set(ctx, key+":text", "x", 0)
	var retries int
	cfg := sink.StreamConfig[string]{
		Key:     key,
		Tuning:  writer.Tuning{Depth: 100},
		OnRetry: func(sink.StreamRetry) { retries++ },
		KeyFor: func(m flow.Message[string]) string {
			if m.Value == "50" {
				return key + ":text"
			}
			return ""
		},
	}
	l := numbers(100)
	if err := flow.New("first", flow.To(l.source(), sink.Stream(rdb, cfg))).Run(ctx); err != nil {
		t.Fatalf("got %v", err)
	}
	written := data(t, rdb, key)
	seen := make(map[string]bool)
	for _, v := range written {
		if seen[v] {
			t.Errorf("%s was written twice", v)
		}
		seen[v] = true
	}
	n := l.outcomes()
	if retries != 0 || n[flow.Acked] != len(written) || n[flow.Acked] != 99 || n[flow.Dead] != 1 || seen["50"] ||
		!seen["49"] ||
		l.settled() != 100 {
		t.Errorf("%d retries, %d written, outcomes %v", retries, len(written), n)
	}
}

// Sinks dropped messages when the buffer behind them was full.
func TestO7_FullSinkWaits(t *testing.T) {
	l := numbers(300)
	c := make(chan string, 1)
	r, err := flow.New("full", flow.To(l.source(flow.MaxInFlight(10)), sink.Chan(c))).Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stop()
	redistest.Soon(
		t,
		"everything is full",
		func() bool { return len(c) == 1 && r.Snapshot(t.Context()).Sources[0].InFlight == 10 },
	)
	if n := l.settled(); n > 1 {
		t.Errorf("%d were settled, and there is room for one", n)
	}
	var want, got []string
	for i := range 300 {
		want, got = append(want, fmt.Sprint(i)), append(got, <-c)
	}
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 300}, l.outcomes()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// A failed XADD was an unhandled promise rejection, and the stream behind it stalled; a file piped
// into it left no entries.
func TestD22_PipingAFileWorksAndFailuresEnd(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	file := strings.Repeat("a line\n", 500)
	g := flow.New(
		"pipe",
		flow.To(source.Lines(strings.NewReader(file)), sink.Stream(rdb, sink.StreamConfig[string]{Key: key})),
	)
	if err := g.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(data(t, rdb, key)); n != 500 {
		t.Errorf("%d entries of 500 lines", n)
	}
	rdb.Set(context.Background(), key, "not a stream any more", 0)
	var stage *flow.StageError
	if err := g.Run(t.Context()); !errors.As(err, &stage) || stage.Stage != "stream" {
		t.Errorf("got %v", err)
	}
}
