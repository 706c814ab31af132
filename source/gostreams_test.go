package source

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

func TestGoStreamsFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "in")
	var want []string
	for i := range 1000 {
		want = append(want, fmt.Sprint("line ", i))
	}
	if err := os.WriteFile(name, []byte(strings.Join(want, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	var r rig[string]
	if err := r.graph(GoStreams[string](extension.NewFileSource(name))).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, r.got()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 1000}, r.settled()); diff != "" {
		t.Errorf("settled (-want +got):\n%s", diff)
	}
}

func TestGoStreamsWrongType(t *testing.T) {
	elements := func() *extension.ChanSource {
		c := make(chan any, 4)
		c <- "a"
		c <- 2
		c <- nil
		c <- "d"
		close(c)
		return extension.NewChanSource(c)
	}
	var r rig[string]
	if err := r.graph(GoStreams[string](elements(), flow.OnFault(flow.Drop))).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "d"}, r.got()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want := []string{
		"source: go-streams element 1 is a int, want a string",
		"source: go-streams element 2 is a <nil>, want a string",
	}
	for i, err := range r.faults {
		if err.Error() != want[i] {
			t.Errorf("fault %d is %v", i, err)
		}
	}
	if diff := cmp.Diff(map[flow.Outcome]int{flow.Acked: 2, flow.Dropped: 2}, r.settled()); diff != "" {
		t.Errorf("settled (-want +got):\n%s", diff)
	}

	err := (&rig[string]{}).graph(GoStreams[string](elements())).Run(t.Context())
	var wrong *TypeError
	if !errors.As(err, &wrong) || *wrong != (TypeError{Position: 1, Got: "int", Want: "string"}) {
		t.Errorf("without a policy: %v", err)
	}
}

// TestGoStreamsInterface: any element is fine for a graph of an interface type that it implements.
func TestGoStreamsInterface(t *testing.T) {
	c := make(chan any, 2)
	c <- time.Second
	c <- 1
	close(c)
	var r rig[fmt.Stringer]
	src := GoStreams[fmt.Stringer](extension.NewChanSource(c), flow.OnFault(flow.Drop))
	if err := r.graph(src).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.got(); len(got) != 1 || got[0] != time.Second || len(r.faults) != 1 {
		t.Errorf("got %v, %v", got, r.faults)
	}
}

func TestGoStreamsDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := make(chan any, 1)
		var r rig[int]
		run := start(t, r.graph(GoStreams[int](extension.NewChanSource(c))))
		c <- 1
		synctest.Wait()
		drain(t, run)
		if diff := cmp.Diff([]int{1}, r.got()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestToGoStreams: our source, their flow, their file.
func TestToGoStreams(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	out := ToGoStreams(t.Context(), Of("a", "b", "c"))
	out.Via(goflow.NewMap(func(s string) string { return strings.ToUpper(s) + "\n" }, 1)).To(extension.NewFileSink(name))
	if err := out.Wait(); err != nil {
		t.Error(err)
	}
	got, err := os.ReadFile(name)
	if err != nil || string(got) != "A\nB\nC\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestToGoStreamsEnds: the channel is closed however the graph ends.
func TestToGoStreamsEnds(t *testing.T) {
	boom := errors.New("boom")
	failing := ToGoStreams(t.Context(), Seq(func(yield func(int, error) bool) {
		if yield(1, nil) {
			yield(0, boom)
		}
	}))
	var got []any
	for v := range failing.Out() {
		got = append(got, v)
	}
	if diff := cmp.Diff([]any{1}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := failing.Wait(); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}

	invalid := ToGoStreams(t.Context(), Chan[int](nil))
	for v := range invalid.Out() {
		t.Errorf("got %v", v)
	}
	var b *flow.BuildError
	if err := invalid.Wait(); !errors.As(err, &b) {
		t.Errorf("got %v", err)
	}

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		drained := ToGoStreams(ctx, Chan(make(chan int)))
		out := drained.Out()
		synctest.Wait()
		cancel()
		if _, ok := <-out; ok {
			t.Error("there is something in the channel")
		}
		if err := drained.Wait(); err != nil {
			t.Error(err)
		}
	})
}
