package parts_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

func graph(name string) *flow.Graph {
	return flow.New(name, flow.To(source.Of(1), sink.Discard[int]()))
}

func names(s *parts.Set) (all []string) {
	for _, r := range s.Graphs() {
		all = append(all, r.Graph().Name()+" "+r.State().String())
	}
	return all
}

func TestGraphsOfASet(t *testing.T) {
	set := parts.New()
	run := func(ctx context.Context, name string) {
		t.Helper()
		if err := graph(name).Run(ctx); err != nil {
			t.Fatal(err)
		}
	}
	run(set.Watch(t.Context()), "watched")
	run(set.Watch(t.Context()), "watched") // replaces the one that has ended
	run(t.Context(), "unseen")

	sup := flow.NewSupervisor(set.Watch(t.Context()))
	set.Supervisor(sup).Supervisor(sup).Supervisor(nil)
	supervised, err := sup.Add(graph("supervised"))
	if err != nil {
		t.Fatal(err)
	}
	set.Graph(supervised)
	alone, err := graph("alone").Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set.Graph(alone)
	for _, r := range set.Graphs() {
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"alone ended", "supervised ended", "watched ended"}, names(set)); diff != "" {
		t.Errorf("graphs (-want +got):\n%s", diff)
	}
}

func ExampleSet_Watch() {
	show := parts.New()
	ctx := show.Watch(context.Background())
	orders := flow.New("orders", flow.To(source.Of(1, 2), sink.Discard[int]()))
	if err := orders.Run(ctx); err != nil {
		fmt.Println(err)
	}
	for _, r := range show.Graphs() {
		fmt.Println(r.Graph().Name(), r.State())
	}
	// Output: orders ended
}

// observed are the names of graphs that an observer was told of.
type observed []string

func (o *observed) Started(r *flow.Running) { *o = append(*o, r.Graph().Name()) }

func ExampleSet_Observe() {
	show := parts.New()
	var seen observed
	show.Observe(&seen)
	ctx := show.Watch(context.Background())
	for _, name := range []string{"orders", "bills"} {
		if err := flow.New(name, flow.To(source.Of(1, 2), sink.Discard[int]())).Run(ctx); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(seen)
	// Output: [orders bills]
}
