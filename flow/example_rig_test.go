package flow_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// The examples read from these sources and write to these sinks. Programs use packages source, sink
// and operators.

// from is a source of some values, and ends after them. It can neither deliver a value again nor keep dead letters.
func from[T any](values ...T) flow.Source[T] {
	return flow.NewSource("values", func() flow.Reader[T] { return &list[T]{rest: values} })
}

type list[T any] struct{ rest []T }

func (l *list[T]) Read(_ context.Context, in *flow.Intake[T]) error {
	for in.Room() > 0 {
		if len(l.rest) == 0 {
			return io.EOF
		}
		in.AddValue(l.rest[0])
		l.rest = l.rest[1:]
	}
	return nil
}

// mapTo does what operators.Map does.
func mapTo[T, U any](
	in flow.Source[T],
	f func(context.Context, T) (U, error),
	opts ...flow.StageOption,
) flow.Source[U] {
	return flow.Step(in, "map", func() flow.StepFunc[T, U] {
		return func(ctx context.Context, m flow.Message[T]) (flow.Message[U], bool, error) {
			v, err := f(ctx, m.Value)
			return flow.Derive(m, v), true, err
		}
	}, opts...)
}

// printing is a sink that prints each value on a line.
func printing[T any](opts ...flow.StageOption) flow.Sink[T] {
	return each("print", func(v T) { fmt.Println(v) }, opts...)
}

// into is a sink that appends to a slice.
func into[T any](all *[]T) flow.Sink[T] {
	return each("collect", func(v T) { *all = append(*all, v) })
}

// discard is a sink that drops all values.
func discard[T any]() flow.Sink[T] { return each("discard", func(T) {}) }

func each[T any](name string, f func(T), opts ...flow.StageOption) flow.Sink[T] {
	return flow.NewSink(name, func() flow.Writer[T] {
		return flow.WriterFunc[T](func(_ context.Context, chunk []flow.Message[T]) error {
			for _, m := range chunk {
				f(m.Value)
			}
			return nil
		})
	}, opts...)
}

// queue is a source that behaves like one on a broker: it redelivers nacked entries, counts
// deliveries, and keeps dead letters. It ends when nothing is left to deliver, unless it stays
// open.
type queue[T any] struct {
	deliveries int  // of an entry, at most; then it is dead. 0: no limit; 1: it need not wait for the outcomes to end
	stays      bool // open

	mu       sync.Mutex
	changed  chan struct{}
	waiting  []entry[T]
	inFlight int

	acked, dropped []T // in the order of delivery, whatever the order of their commits
	done           []entry[T]
	dead           []string        // the value and why
	delays         []time.Duration // asked for before deliveries; the queue ignores them
	peak           int             // most entries in flight
}

type entry[T any] struct {
	id      string
	value   T
	attempt int
}

func queueOf[T any](values ...T) *queue[T] {
	q := &queue[T]{changed: make(chan struct{}, 1)}
	for i, v := range values {
		q.waiting = append(q.waiting, entry[T]{id: strconv.Itoa(i + 1), value: v})
	}
	return q
}

func (q *queue[T]) source(opts ...flow.StageOption) flow.Source[T] {
	return flow.NewSource("queue", func() flow.Reader[T] {
		return &consumer[T]{queue: q, mine: make(map[uint64]entry[T])}
	}, append([]flow.StageOption{flow.Traits{Redelivers: true, DeadLetters: true}}, opts...)...)
}

// left returns the number of entries that are not done.
func (q *queue[T]) left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) + q.inFlight
}

func (q *queue[T]) over() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.stays && len(q.waiting) == 0 && (q.inFlight == 0 || q.deliveries == 1)
}

type consumer[T any] struct {
	*queue[T]
	mine map[uint64]entry[T]
}

func (c *consumer[T]) Read(ctx context.Context, in *flow.Intake[T]) error {
	for {
		c.take(ctx, in)
		switch {
		case in.Len() > 0:
			return nil
		case c.over():
			return io.EOF
		}
		select {
		case <-c.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *consumer[T]) take(ctx context.Context, in *flow.Intake[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil {
		return // else it may take again what goes back at the end
	}
	for len(c.waiting) > 0 && in.Room() > 0 {
		e := c.waiting[0]
		c.waiting = c.waiting[1:]
		e.attempt++
		c.mine[in.Seq()] = e
		in.Add(e.value, flow.Meta{ID: e.id, Attempt: e.attempt}, 0)
		c.inFlight++
		c.peak = max(c.peak, c.inFlight)
	}
}

func (c *consumer[T]) Commit(_ context.Context, settled []flow.Settlement) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range settled {
		e := c.mine[s.Seq]
		delete(c.mine, s.Seq)
		c.inFlight--
		c.settle(e, s)
	}
	select {
	case c.changed <- struct{}{}:
	default:
	}
	return nil
}

func (c *consumer[T]) settle(e entry[T], s flow.Settlement) {
	switch s.Outcome {
	case flow.Acked:
		c.done = append(c.done, e)
		slices.SortStableFunc(c.done, func(a, b entry[T]) int {
			return cmp.Or(cmp.Compare(a.attempt, b.attempt), cmp.Compare(len(a.id), len(b.id)), cmp.Compare(a.id, b.id))
		})
		c.acked = c.acked[:0]
		for _, e := range c.done {
			c.acked = append(c.acked, e.value)
		}
	case flow.Dropped:
		c.dropped = append(c.dropped, e.value)
	case flow.Dead:
		c.dead = append(c.dead, fmt.Sprintf("%v: %v", e.value, why(s.Err())))
	default:
		if s.Fault != nil {
			c.delays = append(c.delays, s.Fault.After)
			if c.deliveries > 0 && e.attempt >= c.deliveries {
				c.dead = append(c.dead, fmt.Sprintf("%v: delivered %d times: %v", e.value, e.attempt, why(s.Err())))
				return
			}
		}
		c.waiting = append(c.waiting, e)
	}
}

// why returns the error without the stack of a panic.
func why(err error) string {
	var p *flow.PanicError
	if errors.As(err, &p) {
		return fmt.Sprintf("panic: %v", p.Value)
	}
	return err.Error()
}

// plainLog writes lines without time and level to stdout.
func plainLog(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}
