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

// Outlet is a flow.Source lent to go-streams: a streams.Source.
type Outlet struct {
	out     chan any
	done    chan struct{}
	start   func() // once
	started atomic.Bool
	halt    chan struct{} // closed when its values are not taken any more
	stop    func()        // closes halt, once
	err     error         // how the graph ended; valid when done is closed
}

var _ streams.Source = (*Outlet)(nil)

// NewOutlet lends a source to go-streams, with all the stages before it. It runs as a graph of its
// own, which starts with the first call of Out or Via and drains when ctx is done.
//
// Order: kept. Acks: a value is acked once go-streams has taken it, since it tells no more; what it
// does with it afterwards is not known to the graph. So what go-streams holds when the process dies
// is lost: see [Func]. Ends: the channel is closed when the graph has ended, for whatever reason.
// Errors: Wait returns how the graph ended. go-streams itself is told of nothing but the end.
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

// run runs the graph until it ends, or its values are not taken any more.
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

// Out starts the graph, the first time, and returns the channel of its values.
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

// ErrNotClosed says that ctx was done and go-streams did not close the channel of an Inlet in time.
var ErrNotClosed = errors.New("gostreams: the channel was not closed")

// closeWithin is how long an Inlet goes on reading when its context is done: as long as drains take
// by default.
const closeWithin = 30 * time.Second

// Inlet is a flow.Sink lent to go-streams: a streams.Sink.
type Inlet struct {
	in    chan any
	done  chan struct{}
	start func() // once
	err   error  // how it ended; valid when done is closed
}

var _ streams.Sink = (*Inlet)(nil)

// NewInlet lends a sink to go-streams. It runs as a graph of its own, which starts with the first
// call of In and ends when the channel is closed, as go-streams does at the end of its input. No
// element is discarded: what the graph does not take stays with its sender, which blocks.
//
// When ctx is done the Inlet goes on until the channel is closed, because go-streams holds elements
// that would be lost. Its source must end then: give it the same ctx. After 30 s the graph drains
// all the same, and Wait returns ErrNotClosed.
//
// go-streams cannot be told of a failure. When the graph stops, Wait returns, and the flows of
// go-streams block until ctx is done: cancel it. Then what they hold is lost, so that they come to
// their end. [Ends] does this by itself, and stops the source's graph first.
//
// Order: kept. Acks: an element counts as done, for go-streams, when the graph has received it.
// Ends: when the channel is closed and all is settled. Errors: an element that is no T is a
// *TypeError, by the graph's fault policy: with flow.Faults(flow.Drop) it is passed over.
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

// end stops the graph of an Outlet whose values are not taken any more, and returns how it ended.
func (o *Outlet) end() error {
	o.stop()
	if !o.started.Load() {
		return nil
	}
	return o.Wait()
}

// release takes what go-streams still holds when its source has ended, so that its goroutines come
// to their end, and tells how much that was.
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
				"gostreams: %d elements came out of go-streams after the sink's graph had stopped, and are lost",
				lost,
			)
		default:
			return nil
		}
	}
}

// runInlet runs the graph until go-streams closes the channel. It reports whether the graph ended
// before, by a failure.
func runInlet(ctx context.Context, g *flow.Graph) (failed bool, err error) {
	run, err := g.Start(context.WithoutCancel(ctx)) // the end of ctx reaches it through go-streams
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
		"%w within %v of the end of its context; end its source with the same context",
		ErrNotClosed,
		closeWithin,
	)
	return false, errors.Join(notClosed, err)
}

// In starts the graph, the first time, and returns the channel for its elements, which the caller
// closes at the end.
func (i *Inlet) In() chan<- any {
	i.start()
	return i.in
}

// AwaitCompletion waits until the graph has ended: when the channel was closed, or when it failed.
// Wait tells how.
func (i *Inlet) AwaitCompletion() { <-i.done }

// Wait waits until the graph has ended, and returns what flow.Graph.Run would. Of [Ends] it waits
// for both graphs, and joins their errors.
func (i *Inlet) Wait() error {
	<-i.done
	return i.err
}

type inletReader[T any] <-chan any

func (c inletReader[T]) Read(ctx context.Context, in *flow.Intake[T]) error {
	return receive(ctx, c, in)
}

// Ends lends both ends of a go-streams pipeline: a source before it, and a sink behind it. The two
// are tied. When ctx is done the source's graph drains, then go-streams comes to its end, then the
// sink's graph, so nothing is lost. When the sink's graph stops, so does the source's, and what it
// has not handed over goes back. What go-streams holds then is lost, which Wait tells, and so it is
// when the process dies, because the source has acknowledged it: use [Func] where that matters.
//
//	from, to := gostreams.Ends(ctx, src, snk)
//	from.Via(goflow.NewMap(strings.ToUpper, 1)).To(to)
//	err := to.Wait()
//
// The options are those of both graphs.
func Ends[T, U any](
	ctx context.Context,
	src flow.Source[T],
	snk flow.Sink[U],
	opts ...flow.GraphOption,
) (*Outlet, *Inlet) {
	from := NewOutlet(ctx, src, opts...)
	return from, newInlet(ctx, snk, from, opts)
}
