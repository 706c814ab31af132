package gostreams

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	streams "github.com/reugn/go-streams"
	goflow "github.com/reugn/go-streams/flow"

	"github.com/streamerson/streamerson-go/flow"
)

// Outlet connects a flow.Source to go-streams: it is a streams.Source.
type Outlet struct {
	out     chan any
	done    chan struct{}
	start   func() // once
	started atomic.Bool
	halt    chan struct{} // closed when its values are no longer taken
	stop    func()        // closes halt, once
	err     error         // how the graph ended; valid when done is closed
}

var _ streams.Source = (*Outlet)(nil)

// NewOutlet connects a source, with all the stages before it, to go-streams. It runs as its own
// graph, which starts with the first call of Out or Via and drains when ctx is done.
//
// Order: kept. Acks: a value is acked once go-streams has taken it, because go-streams reports
// nothing later. So values that go-streams holds when the process dies are lost: see [Func]. Ends:
// the channel is closed when the graph has ended, for any reason. Errors: Wait returns how the
// graph ended. go-streams sees only the end.
func NewOutlet[T any](ctx context.Context, src flow.Source[T], opts ...flow.GraphOption) *Outlet {
	o := &Outlet{out: make(chan any), done: make(chan struct{}), halt: make(chan struct{})}
	o.stop = sync.OnceFunc(func() { close(o.halt) })
	parts := []flow.Part{
		flow.To(src, flow.NewSink("go-streams", func() flow.Writer[T] { return outletWriter[T](o.out) },
			flow.ChunkSize(1))),
	}
	for _, opt := range opts {
		parts = append(parts, opt)
	}
	o.start = sync.OnceFunc(func() {
		o.started.Store(true)
		flow.Aside(func() error {
			o.err = o.run(ctx, flow.New("go-streams", parts...))
			close(o.out)
			close(o.done)
			return nil
		})
	})
	return o
}

// run runs the graph until it ends, or its values are no longer taken.
func (o *Outlet) run(ctx context.Context, g *flow.Graph) error {
	run, err := g.Start(ctx)
	if err != nil {
		return err
	}
	select {
	case <-run.Done():
	case <-o.halt:
		if err := run.Stop(); !errors.Is(err, flow.ErrStopped) {
			return err
		}
		return nil
	}
	return run.Wait()
}

// Out starts the graph on the first call, and returns the channel of its values.
func (o *Outlet) Out() <-chan any {
	o.start()
	return o.out
}

// Via streams the values into a go-streams flow and returns that flow.
func (o *Outlet) Via(f streams.Flow) streams.Flow {
	goflow.DoStream(o, f)
	return f
}

// Wait waits for the graph's end and returns what flow.Graph.Run would. It does not start it.
func (o *Outlet) Wait() error {
	<-o.done
	return o.err
}

type outletWriter[T any] chan any

func (w outletWriter[T]) Write(ctx context.Context, chunk []flow.Message[T]) error {
	return send(ctx, w, chunk)
}

// ErrNotClosed reports that go-streams did not close the channel of an Inlet in time after ctx was
// done.
var ErrNotClosed = errors.New("gostreams: the channel was not closed")

// closeWithin is how long an Inlet keeps reading after its context is done: the default time of a
// drain.
const closeWithin = 30 * time.Second

// Inlet connects a flow.Sink to go-streams: it is a streams.Sink.
type Inlet struct {
	in    chan any
	done  chan struct{}
	start func() // once
	err   error  // how it ended; valid when done is closed
}

var _ streams.Sink = (*Inlet)(nil)

// NewInlet connects a sink to go-streams. It runs as its own graph, which starts with the first
// call of In and ends when the channel is closed, as go-streams does when its input ends. It
// discards no elements: if the graph takes none, the sender blocks.
//
// When ctx is done the Inlet continues until the channel is closed, because elements inside
// go-streams would be lost. The source of go-streams must end then: give it the same ctx. After 30
// s the graph drains anyway, and Wait returns ErrNotClosed.
//
// A failure cannot be reported to go-streams. When the graph stops, Wait returns, and the
// go-streams flows block until ctx is done: cancel it. Their elements are then discarded, so that
// their goroutines end. [Ends] does this by itself, and stops the source's graph first.
//
// Order: kept. Acks: for go-streams, an element is done when the graph has received it. Ends: when
// the channel is closed and all is settled. Errors: an element that is not a T is a *TypeError,
// subject to the graph's fault policy: with flow.Faults(flow.Drop) it is skipped.
func NewInlet[T any](ctx context.Context, snk flow.Sink[T], opts ...flow.GraphOption) *Inlet {
	return newInlet(ctx, snk, nil, opts)
}

func newInlet[T any](ctx context.Context, snk flow.Sink[T], from *Outlet, opts []flow.GraphOption) *Inlet {
	i := &Inlet{in: make(chan any), done: make(chan struct{})}
	parts := []flow.Part{
		flow.To(flow.NewSource("go-streams", func() flow.Reader[T] { return inletReader[T](i.in) }), snk),
	}
	for _, opt := range opts {
		parts = append(parts, opt)
	}
	i.start = sync.OnceFunc(func() {
		flow.Aside(func() error {
			var failed bool
			if failed, i.err = runInlet(ctx, flow.New("go-streams", parts...)); from != nil {
				i.err = errors.Join(i.err, from.end(), i.release())
			}
			close(i.done)
			if from == nil && failed {
				<-ctx.Done()
				_ = i.release() // Wait has returned
			}
			return nil
		})
	})
	return i
}

// end stops the graph of an Outlet when its values are no longer taken, and returns how it ended.
func (o *Outlet) end() error {
	o.stop()
	if !o.started.Load() {
		return nil
	}
	return o.Wait()
}

// release discards what go-streams still holds after its source has ended, so that its goroutines
// end. It reports how many elements that were.
func (i *Inlet) release() error {
	late := time.NewTimer(closeWithin)
	defer late.Stop()
	for lost := 0; ; {
		open := true
		select {
		case _, open = <-i.in:
		case <-late.C:
			open = false
		}
		switch {
		case open:
			lost++
		case lost > 0:
			return fmt.Errorf(
				"gostreams: lost %d elements that left go-streams after the sink's graph had stopped",
				lost,
			)
		default:
			return nil
		}
	}
}

// runInlet runs the graph until go-streams closes the channel. failed reports that the graph failed
// before that.
func runInlet(ctx context.Context, g *flow.Graph) (failed bool, err error) {
	run, err := g.Start(context.WithoutCancel(ctx)) // the end of ctx arrives through go-streams
	if err != nil {
		return true, err
	}
	late := make(<-chan time.Time)
	select {
	case <-run.Done():
	case <-ctx.Done():
		t := time.NewTimer(closeWithin)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-run.Done():
		err := run.Wait()
		return err != nil, err
	case <-late:
	}
	_, err = run.Drain(context.WithoutCancel(ctx))
	notClosed := fmt.Errorf(
		"%w within %v after its context ended: end its source with the same context",
		ErrNotClosed,
		closeWithin,
	)
	return false, errors.Join(notClosed, err)
}

// In starts the graph on the first call, and returns the channel for its elements. The caller
// closes it at the end.
func (i *Inlet) In() chan<- any {
	i.start()
	return i.in
}

// AwaitCompletion waits until the graph has ended, because the channel was closed or because it
// failed. Wait returns the error.
func (i *Inlet) AwaitCompletion() { <-i.done }

// Wait waits until the graph has ended, and returns what flow.Graph.Run would. For [Ends] it waits
// for both graphs and joins their errors.
func (i *Inlet) Wait() error {
	<-i.done
	return i.err
}

type inletReader[T any] <-chan any

func (c inletReader[T]) Read(ctx context.Context, in *flow.Intake[T]) error {
	return receive(ctx, c, in)
}

// Ends connects both ends of a go-streams pipeline: a source before it and a sink after it. When
// ctx is done the source's graph drains, then go-streams ends, then the sink's graph, so nothing is
// lost. When the sink's graph stops, the source's graph stops too, and values that were not handed
// over go back. Values inside go-streams are then lost, which Wait reports. They are also lost when
// the process dies, because the source has acknowledged them. Use [Func] to avoid that.
//
//	from, to := gostreams.Ends(ctx, src, snk)
//	from.Via(goflow.NewMap(strings.ToUpper, 1)).To(to)
//	err := to.Wait()
//
// The options apply to both graphs.
func Ends[T, U any](
	ctx context.Context,
	src flow.Source[T],
	snk flow.Sink[U],
	opts ...flow.GraphOption,
) (*Outlet, *Inlet) {
	from := NewOutlet(ctx, src, opts...)
	return from, newInlet(ctx, snk, from, opts)
}
