package source

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"

	streams "github.com/reugn/go-streams"
	goflow "github.com/reugn/go-streams/flow"

	"github.com/streamerson/streamerson-go/flow"
)

// TypeError is the fault of an element of a go-streams source that is not of the graph's type.
type TypeError struct {
	Position uint64 // of the element, from 0, in this run
	Got      string // its type; "<nil>" for a nil
	Want     string
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("source: go-streams element %d is a %s, want a %s", e.Position, e.Got, e.Want)
}

// GoStreams lends a source of github.com/reugn/go-streams to a graph. A go-streams source is started by its own
// constructor and runs until it is at its end; the graph takes its elements as it has credits for them.
//
// Their elements carry no acks: an element counts as done, for them, once the graph has received it. So what a crash
// interrupts is not delivered again. Beware of their Redis Streams source: as released, in a module whose go.mod says
// go 1.21, it sends the address of one loop variable for all messages of a read, so what arrives may be the same
// message several times; source.Stream is the one to use.
//
// Order: the source's. Acks: nobody is told; a value that fails for good stops the graph, unless the policy drops it.
// Ends: when src closes its channel, or by drain. go-streams has no way to tell src of a drain: its goroutine waits
// for somebody to take its next element until its own context, if it takes one, is done.
// Errors: an element that is no T is a *TypeError, by the source's fault policy: OnFault(flow.Drop) passes over it.
func GoStreams[T any](src streams.Source, opts ...flow.StageOption) flow.Source[T] {
	if src == nil {
		opts = append(slices.Clip(opts), flow.Invalid("src", "the go-streams source is nil", "give a source"))
	}
	return flow.NewSource("go-streams", func() flow.Reader[T] { return &outletReader[T]{src: src} }, opts...)
}

type outletReader[T any] struct{ src streams.Source }

func (r *outletReader[T]) Read(ctx context.Context, in *flow.Intake[T]) error {
	return receive(ctx, r.src.Out(), in.Room, func(element any) {
		if v, ok := element.(T); ok {
			in.AddValue(v)
			return
		}
		in.AddBad(flow.Meta{}, 0, &TypeError{
			Position: in.Seq(), Got: fmt.Sprintf("%T", element), Want: reflect.TypeFor[T]().String(),
		})
	})
}

// Outlet is a flow.Source lent to go-streams: a streams.Source.
type Outlet struct {
	out   chan any
	done  chan struct{}
	start func() // once
	err   error  // how the graph ended; valid when done is closed
}

var _ streams.Source = (*Outlet)(nil)

// ToGoStreams lends a source to go-streams, with all the stages before it. It runs as a graph of its own, which starts
// with the first call of Out or Via and drains when ctx is done.
//
// Order: kept. Acks: a value is acked once go-streams has taken it, since it tells no more; what it does with it
// afterwards is not known to the graph. Ends: the channel is closed when the graph has ended, for whatever reason.
// Errors: Wait returns how the graph ended. go-streams itself is told of nothing but the end.
func ToGoStreams[T any](ctx context.Context, src flow.Source[T], opts ...flow.GraphOption) *Outlet {
	o := &Outlet{out: make(chan any), done: make(chan struct{})}
	parts := []flow.Part{flow.To(src, flow.NewSink("go-streams", func() flow.Writer[T] { return outletWriter[T](o.out) },
		flow.ChunkSize(1)))}
	for _, opt := range opts {
		parts = append(parts, opt)
	}
	o.start = sync.OnceFunc(func() {
		flow.Aside(func() error {
			o.err = flow.New("go-streams", parts...).Run(ctx)
			close(o.out)
			close(o.done)
			return nil
		})
	})
	return o
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
	for i := range chunk {
		select {
		case w <- chunk[i].Value:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
