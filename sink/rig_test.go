package sink

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// rig is a source of 0, 1, … n-1 that records how they are settled. With forever it then waits for
// the drain.
type rig struct {
	n       int
	forever bool

	mu       sync.Mutex
	outcomes map[int]flow.Outcome
	twice    int // settled more than once
	faults   []error
}

type rigReader struct {
	*rig
	next int
}

func (r *rigReader) Read(ctx context.Context, in *flow.Intake[int]) error {
	for ; in.Room() > 0 && r.next < r.n; r.next++ {
		in.AddValue(r.next)
	}
	switch {
	case in.Len() > 0:
		return nil
	case r.forever:
		<-ctx.Done()
		return ctx.Err()
	default:
		return io.EOF
	}
}

func (r *rigReader) Commit(_ context.Context, settled []flow.Settlement) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.outcomes == nil {
		r.outcomes = make(map[int]flow.Outcome)
	}
	for _, s := range settled {
		if _, ok := r.outcomes[int(s.Seq)]; ok {
			r.twice++
		}
		r.outcomes[int(s.Seq)] = s.Outcome
	}
	return nil
}

func (r *rig) source() flow.Source[int] {
	return flow.NewSource("rig", func() flow.Reader[int] { return &rigReader{rig: r} },
		flow.Traits{Redelivers: true, DeadLetters: true})
}

func (r *rig) graph(snk flow.Sink[int], parts ...flow.Part) *flow.Graph {
	return r.graphOf(flow.To(r.source(), snk), parts...)
}

func (r *rig) graphOf(b flow.Branch, parts ...flow.Part) *flow.Graph {
	return flow.New("test", append([]flow.Part{
		b, flow.DrainTimeout(time.Second), flow.KillGrace(time.Second),
		flow.Faults(flow.Retry(2, time.Millisecond, flow.Nack)),
		flow.OnEvent(flow.Hooks{Faulted: func(f *flow.Fault, _ flow.Decision) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.faults = append(r.faults, f.Err)
		}}),
	}, parts...)...)
}

// settled returns the number of entries per outcome.
func (r *rig) settled(t *testing.T) map[flow.Outcome]int {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.twice > 0 {
		t.Errorf("%d settled twice", r.twice)
	}
	n := make(map[flow.Outcome]int)
	for _, o := range r.outcomes {
		n[o]++
	}
	return n
}

func ints(n int) []int {
	v := make([]int, n)
	for i := range v {
		v[i] = i
	}
	return v
}

func start(t *testing.T, g *flow.Graph) *flow.Running {
	t.Helper()
	run, err := g.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return run
}
