package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"

	streams "github.com/reugn/go-streams"

	"github.com/streamerson/streamerson-go/flow"
)

// ErrCompleted is why a graph stops that writes to a go-streams sink which has come to its end: go-streams sinks work
// once. Make a new one for each run of a graph.
var ErrCompleted = errors.New("sink: go-streams sink is completed already")

// TypeError is the fault of an element that go-streams sends to an Inlet and that is not of its type.
type TypeError struct {
	Position uint64 // of the element, from 0
	Got      string // its type; "<nil>" for a nil
	Want     string
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("sink: go-streams element %d is a %s, want a %s", e.Position, e.Got, e.Want)
}

// GoStreams lends a sink of github.com/reugn/go-streams to a graph. When the input has ended, its channel is closed and
// its AwaitCompletion waited for, so the graph does not end before the sink has written everything. A go-streams sink is
// started by its own constructor and works once: for one run of one graph, in one branch, without Workers.
//
// Order: kept. Acks: a value is acked when snk has taken it from its channel, since go-streams sinks do not tell more:
// what they fail to write they log. Ends: with its input. When the graph stops early, what snk has taken it is given the
// time to finish (flow.AckTimeout), and what it has not taken goes back to its source.
// Errors: ErrCompleted stops the graph, also when its stage was restarted because one before it failed. A type that snk
// cannot handle it discards by itself, with a log line: their file and writer sinks take strings, bytes and
// fmt.Stringers.
func GoStreams[T any](snk streams.Sink, opts ...flow.StageOption) flow.Sink[T] {
	opts = singly(opts)
	if snk == nil {
		opts = append(opts, flow.Invalid("snk", "the go-streams sink is nil", "give a sink"))
	}
	in := &inlet{snk: snk}
	return flow.NewSink("go-streams", func() flow.Writer[T] { return &inletWriter[T]{in} }, opts...)
}

// inlet is a go-streams sink that is closed once.
type inlet struct {
	snk streams.Sink

	mu     sync.Mutex
	closed <-chan error // of AwaitCompletion, once In has been closed
}

// complete closes the sink's channel and waits for it.
func (i *inlet) complete(ctx context.Context) error {
	i.mu.Lock()
	if i.closed == nil {
		close(i.snk.In())
		i.closed = flow.Aside(func() error {
			i.snk.AwaitCompletion()
			return nil
		})
	}
	closed := i.closed
	i.mu.Unlock()
	select {
	case err := <-closed: // nil the second time, when it is closed itself
		return err
	case <-ctx.Done():
		return fmt.Errorf("sink: go-streams sink has not completed: %w", context.Cause(ctx))
	}
}

func (i *inlet) isClosed() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.closed != nil
}

type inletWriter[T any] struct{ *inlet }

func (w *inletWriter[T]) Write(ctx context.Context, chunk []flow.Message[T]) error {
	if w.isClosed() {
		return flow.Permanent(ErrCompleted)
	}
	return each[T](w.send).Write(ctx, chunk)
}

func (w *inletWriter[T]) send(ctx context.Context, m flow.Message[T]) error {
	select {
	case w.snk.In() <- m.Value:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *inletWriter[T]) Flush(ctx context.Context) error { return w.complete(ctx) }

func (w *inletWriter[T]) Close(ctx context.Context) error { return w.complete(ctx) }

// Inlet is a flow.Sink lent to go-streams: a streams.Sink.
type Inlet struct {
	in    chan any
	done  chan struct{}
	start func() // once
	err   error  // how it ended; valid when done is closed
}

var _ streams.Sink = (*Inlet)(nil)

// ToGoStreams lends a sink to go-streams. It runs as a graph of its own, which starts with the first call of In and ends
// when the channel is closed, as go-streams does at the end of its input.
//
// go-streams cannot be told of a failure. When the graph ends before the channel is closed, by a failure or because ctx
// is done, what still comes is discarded, as their own sinks do; Wait counts it.
//
// Order: kept. Acks: an element counts as done, for go-streams, when the graph has received it. Ends: when the channel is
// closed and all is settled. Errors: an element that is no T is a *TypeError, by the graph's fault policy: with
// flow.Faults(flow.Drop) it is passed over.
func ToGoStreams[T any](ctx context.Context, snk flow.Sink[T], opts ...flow.GraphOption) *Inlet {
	i := &Inlet{in: make(chan any), done: make(chan struct{})}
	src := flow.NewSource("go-streams", func() flow.Reader[T] { return inletReader[T](i.in) })
	parts := []flow.Part{flow.To(src, snk)}
	for _, opt := range opts {
		parts = append(parts, opt)
	}
	i.start = sync.OnceFunc(func() {
		flow.Aside(func() error {
			i.err = flow.New("go-streams", parts...).Run(ctx)
			lost := 0
			for range i.in {
				lost++
			}
			if lost > 0 {
				i.err = errors.Join(i.err, fmt.Errorf("sink: %d go-streams elements came after the graph's end", lost))
			}
			close(i.done)
			return nil
		})
	})
	return i
}

// In starts the graph, the first time, and returns the channel for its elements, which the caller closes at the end.
func (i *Inlet) In() chan<- any {
	i.start()
	return i.in
}

// AwaitCompletion waits until the channel is closed and the graph has ended; Wait tells how.
func (i *Inlet) AwaitCompletion() { <-i.done }

// Wait waits until the channel is closed and the graph has ended, and returns what flow.Graph.Run would, joined with a
// count of the elements that were discarded.
func (i *Inlet) Wait() error {
	<-i.done
	return i.err
}

type inletReader[T any] <-chan any

// Read waits for one element and takes those that are there already.
func (c inletReader[T]) Read(ctx context.Context, in *flow.Intake[T]) error {
	for wait := true; in.Room() > 0; wait = false {
		element, ok, err := next(ctx, c, wait)
		if err != nil || !ok {
			return err
		}
		if v, ok := element.(T); ok {
			in.AddValue(v)
			continue
		}
		in.AddBad(flow.Meta{}, 0, &TypeError{
			Position: in.Seq(), Got: fmt.Sprintf("%T", element), Want: reflect.TypeFor[T]().String(),
		})
	}
	return nil
}

// next receives one element, if there is one or it is to wait for it. Its error is io.EOF for a closed channel.
func next(ctx context.Context, c <-chan any, wait bool) (element any, ok bool, err error) {
	if wait {
		select {
		case element, ok = <-c:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	} else {
		select {
		case element, ok = <-c:
		default:
			return nil, false, nil
		}
	}
	if !ok {
		return nil, false, io.EOF
	}
	return element, true, nil
}
