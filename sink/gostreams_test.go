package sink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/reugn/go-streams/extension"
	goflow "github.com/reugn/go-streams/flow"

	"github.com/streamerson/streamerson-go/flow"
)

// text makes strings of a rig's numbers, for connectors that write them.
func text(in flow.Source[int]) flow.Source[string] {
	return flow.Step(in, "text", func() flow.StepFunc[int, string] {
		return func(_ context.Context, m flow.Message[int]) (flow.Message[string], bool, error) {
			return flow.Derive(m, fmt.Sprintln(m.Value)), true, nil
		}
	})
}

// TestGoStreamsFile: all is in the file when Run returns.
func TestGoStreamsFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	r := rig{n: 1000}
	g := r.graphOf(flow.To(text(r.source()), GoStreams[string](extension.NewFileSink(name))))
	if err := g.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 1000 {
		want = append(want, fmt.Sprint(i))
	}
	if diff := cmp.Diff(want, strings.Fields(string(got))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if o := r.settled(t); o[flow.Acked] != 1000 {
		t.Errorf("settled %v", o)
	}
	// It works once.
	if err := g.Run(t.Context()); !errors.Is(err, ErrCompleted) {
		t.Errorf("the second run: %v", err)
	}
}

// slowSink is a go-streams sink that takes its time.
type slowSink struct {
	in   chan any
	done chan struct{}
	got  []any
}

func newSlowSink(each time.Duration) *slowSink {
	s := &slowSink{in: make(chan any), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		for v := range s.in {
			time.Sleep(each)
			s.got = append(s.got, v)
		}
	}()
	return s
}

func (s *slowSink) In() chan<- any   { return s.in }
func (s *slowSink) AwaitCompletion() { <-s.done }

// TestGoStreamsStop: what the sink has taken it finishes, what it has not goes back, and its goroutine ends.
func TestGoStreamsStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		snk := newSlowSink(time.Second)
		r := rig{n: 10}
		run := start(t, r.graph(GoStreams[int](snk)))
		time.Sleep(2500 * time.Millisecond)
		if err := run.Stop(); err != nil {
			t.Fatal(err)
		}
		<-snk.done
		if diff := cmp.Diff([]any{0, 1, 2}, snk.got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 3, flow.Nacked: 7}, r.settled(t)); diff != "" {
			t.Errorf("settled (-want +got):\n%s", diff)
		}
	})
}

// TestGoStreamsNeverCompletes: the graph waits, but not beyond its drain timeout.
func TestGoStreamsNeverCompletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		snk := newSlowSink(time.Hour)
		r := rig{n: 1}
		run := start(t, r.graph(GoStreams[int](snk), flow.AckTimeout(time.Second)))
		synctest.Wait()
		if run.State() != flow.Active {
			t.Errorf("the graph is %v", run.State())
		}
		if _, err := run.Drain(t.Context()); !errors.Is(err, flow.ErrDrainTimeout) {
			t.Errorf("got %v", err)
		}
		if o := r.settled(t); o[flow.Acked] != 1 {
			t.Errorf("settled %v", o)
		}
		<-snk.done
	})
}

// TestToGoStreams: their file, their flow, our sink.
func TestToGoStreams(t *testing.T) {
	name := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(name, []byte("a\nb\nc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	snk, got := Collect[string]()
	in := ToGoStreams(t.Context(), snk)
	extension.NewFileSource(name).Via(goflow.NewMap(strings.ToUpper, 1)).To(in)
	if err := in.Wait(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"A", "B", "C"}, got.Values()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestToGoStreamsWrongType(t *testing.T) {
	snk, got := Collect[string]()
	in := ToGoStreams(t.Context(), snk, flow.Faults(flow.Drop))
	for _, v := range []any{"a", 2, nil, "d"} {
		in.In() <- v
	}
	close(in.In())
	in.AwaitCompletion()
	if err := in.Wait(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"a", "d"}, got.Values()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// Without a policy the graph stops. The upstream cannot be told, so it must not be left blocked.
	in = ToGoStreams(t.Context(), Discard[string]())
	in.In() <- 1
	for range 1000 {
		in.In() <- "x"
	}
	close(in.In())
	var wrong *TypeError
	err := in.Wait()
	if !errors.As(err, &wrong) || *wrong != (TypeError{Position: 0, Got: "int", Want: "string"}) ||
		!strings.Contains(err.Error(), "elements came after the graph's end") {
		t.Errorf("got %v", err)
	}
}

func TestToGoStreamsDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		snk, got := Collect[int]()
		in := ToGoStreams(ctx, snk)
		in.In() <- 1
		synctest.Wait()
		cancel()
		synctest.Wait()
		in.In() <- 2
		close(in.In())
		if err := in.Wait(); err == nil || err.Error() != "sink: 1 go-streams elements came after the graph's end" {
			t.Errorf("got %v", err)
		}
		if diff := cmp.Diff([]int{1}, got.Values()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
