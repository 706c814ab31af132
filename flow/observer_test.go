package flow_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
)

// watcher collects the names of graphs that start.
type watcher []string

func (w *watcher) Started(r *flow.Running) { *w = append(*w, r.Graph().Name()) }

func TestObserversLearnOfEachGraph(t *testing.T) {
	var outer, inner watcher
	ctx := flow.WithObserver(t.Context(), &outer)
	graph := func(name string) *flow.Graph {
		return flow.New(name, flow.To(from(1), discard[int]()))
	}
	run := func(ctx context.Context, name string) {
		t.Helper()
		if err := graph(name).Run(ctx); err != nil {
			t.Fatal(err)
		}
	}
	run(ctx, "one")
	run(flow.WithObserver(ctx, &inner), "two")
	sup := flow.NewSupervisor(ctx)
	if _, err := sup.Add(graph("three")); err != nil {
		t.Fatal(err)
	}
	if err := sup.Wait(); err != nil {
		t.Fatal(err)
	}
	run(t.Context(), "unseen")
	if diff := cmp.Diff(watcher{"one", "two", "three"}, outer); diff != "" {
		t.Errorf("outer observer (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(watcher{"two"}, inner); diff != "" {
		t.Errorf("inner observer (-want +got):\n%s", diff)
	}
}
