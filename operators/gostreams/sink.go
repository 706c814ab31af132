package gostreams

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	streams "github.com/reugn/go-streams"

	"github.com/streamerson/streamerson-go/flow"
)

// ErrCompleted stops a graph that writes to a completed go-streams sink. go-streams sinks work
// once: make a new one for each run of a graph.
var ErrCompleted = errors.New("gostreams: the sink is completed already")

// Sink connects a sink of github.com/reugn/go-streams to a graph. When the input has ended, it
// closes the sink's channel and waits for AwaitCompletion, so the graph does not end before the
// sink has written everything. The constructor of a go-streams sink starts it, and it works once:
// for one run of one graph, in one branch, without Workers.
//
// Order: kept. Acks: a value is acked when snk has taken it from its channel, because go-streams
// sinks report nothing later; they log failed writes. Ends: with its input. When the graph stops
// early, snk has flow.AckTimeout to finish what it has taken, and the rest goes back to its source.
// Errors: ErrCompleted stops the graph, also when its stage was restarted because an earlier one
// failed. Values of unsupported types are discarded by snk itself, with a log line. The file and
// writer sinks of go-streams accept strings, bytes and fmt.Stringers.
func Sink[T any](snk streams.Sink, opts ...flow.StageOption) flow.Sink[T] {
	opts = slices.Concat([]flow.StageOption{flow.ChunkSize(1)}, opts)
	if snk == nil {
		opts = append(opts, flow.Invalid("snk", "the go-streams sink is nil", "pass a sink"))
	}
	lent := &lentSink{snk: snk}
	return flow.NewSink("go-streams", func() flow.Writer[T] { return &sinkWriter[T]{lent} }, opts...)
}

// lentSink is a go-streams sink that is closed once.
type lentSink struct {
	snk streams.Sink

	mu     sync.Mutex
	closed <-chan error // of AwaitCompletion, once In has been closed
}

// complete closes the sink's channel and waits for it.
func (l *lentSink) complete(ctx context.Context) error {
	l.mu.Lock()
	if l.closed == nil {
		close(l.snk.In())
		l.closed = flow.Aside(func() error {
			l.snk.AwaitCompletion()
			return nil
		})
	}
	closed := l.closed
	l.mu.Unlock()
	select {
	case err := <-closed: // nil the second time, when the channel is closed itself
		return err
	case <-ctx.Done():
		return fmt.Errorf("gostreams: the sink has not completed: %w", context.Cause(ctx))
	}
}

func (l *lentSink) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed != nil
}

type sinkWriter[T any] struct{ *lentSink }

func (w *sinkWriter[T]) Write(ctx context.Context, chunk []flow.Message[T]) error {
	if w.isClosed() {
		return flow.Permanent(ErrCompleted)
	}
	return send(ctx, w.snk.In(), chunk)
}

func (w *sinkWriter[T]) Flush(ctx context.Context) error { return w.complete(ctx) }

func (w *sinkWriter[T]) Close(ctx context.Context) error { return w.complete(ctx) }

// send hands over the values of a chunk. When ctx is done, values that were not taken fail with its
// cause.
func send[T any](ctx context.Context, to chan<- any, chunk []flow.Message[T]) error {
	for i := range chunk {
		select {
		case to <- chunk[i].Value:
		case <-ctx.Done():
			errs := make([]error, len(chunk))
			for n := i; n < len(chunk); n++ {
				errs[n] = context.Cause(ctx)
			}
			return &flow.WriteError{Errs: errs}
		}
	}
	return nil
}
