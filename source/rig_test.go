package source

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// rig is a sink that keeps its values and counts how the entries were settled.
type rig[T any] struct {
	on func(ctx context.Context, v T) error // may be nil

	mu       sync.Mutex
	values   []T
	metas    []flow.Meta
	outcomes map[flow.Outcome]int
	faults   []error
}

func (r *rig[T]) Write(ctx context.Context, chunk []flow.Message[T]) error {
	if r.on != nil {
		if err := r.on(ctx, chunk[0].Value); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values = append(r.values, chunk[0].Value)
	r.metas = append(r.metas, chunk[0].Meta())
	return nil
}

func (r *rig[T]) graph(src flow.Source[T], parts ...flow.Part) *flow.Graph {
	parts = append([]flow.Part{
		flow.To(src, flow.NewSink("rig", func() flow.Writer[T] { return r }, flow.ChunkSize(1))),
		flow.DrainTimeout(redistest.Patience), flow.AckTimeout(redistest.Patience), flow.KillGrace(redistest.Patience),
		flow.Restarts(0, time.Minute, 0),
		flow.OnEvent(flow.Hooks{
			Committed: func(_ string, settled []flow.Settlement) {
				r.mu.Lock()
				defer r.mu.Unlock()
				for _, s := range settled {
					if r.outcomes == nil {
						r.outcomes = make(map[flow.Outcome]int)
					}
					r.outcomes[s.Outcome]++
				}
			},
			Faulted: func(f *flow.Fault, _ flow.Decision) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.faults = append(r.faults, f.Err)
			},
		})}, parts...)
	return flow.New("test", parts...)
}

func (r *rig[T]) got() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]T(nil), r.values...)
}

func (r *rig[T]) settled() map[flow.Outcome]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outcomes
}

func start(t *testing.T, g *flow.Graph) *flow.Running {
	t.Helper()
	run, err := g.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func drain(t *testing.T, run *flow.Running) {
	t.Helper()
	if _, err := run.Drain(context.Background()); err != nil {
		t.Errorf("drain: %v", err)
	}
}
