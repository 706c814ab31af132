package operators

import (
	"context"
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
)

// Conflate combines values while its output is busy. So the stage behind it always gets a
// summary of all that has arrived, such as the last position of a vehicle, a sum, or a set of
// changed keys. Its function seed makes the summary of one value, and add adds a value to a
// summary. A summary stands for at most most values; then the stream waits. While the stage behind
// it keeps up, each value is a summary by itself.
//
// An error or panic of seed or add is a fault of its message. The summary stays as it was, as far
// as add has not changed what it points to.
//
//	in   --1--2--3--------4--|
//	out  --1--------(23)--4--|  the stage behind it works on 1 meanwhile
//
// Order: kept. Acks: an entry is acked when its summary is.
// Holds: up to most messages. Ends: when in ends, with a last summary of what is left.
func Conflate[T, S any](
	in flow.Source[T], most int, seed func(T) S, add func(S, T) S, opts ...flow.StageOption,
) flow.Source[S] {
	return flow.RouteVia(in, "conflate", 1, func() flow.RouteHandler[T, S] {
		return &conflate[T, S]{most: most, seed: seed, add: add}
	}, with(opts, atLeastOne("most", most, "values in a summary"), function("seed", seed != nil),
		function("add", add != nil), flow.Async(), flow.ChunkSize(1),
		flow.Traits{Holds: max(most, 0), Joins: true, Passes: true})...)[0]
}

type conflate[T, S any] struct {
	most int
	seed func(T) S
	add  func(S, T) S

	held []flow.Held[T] // the messages in sum
	sum  S
}

func (c *conflate[T, S]) Handle(ctx context.Context, m flow.Message[T], emit flow.RouteEmit[S]) error {
	full := len(c.held) >= c.most
	sum, err := c.with(m.Value, full || len(c.held) == 0) // before emit, because a fault takes back what was emitted
	if err != nil {
		return fmt.Errorf("operators: conflate: %w", err)
	}
	if full {
		c.emit(ctx, emit) // waits until there is room
	}
	c.sum, c.held = sum, append(c.held, flow.Hold(ctx, m))
	return nil
}

// with returns the summary with a value, or a new one of this value.
func (c *conflate[T, S]) with(v T, first bool) (sum S, err error) {
	defer flow.Catch(&err)
	if first {
		return c.seed(v), nil
	}
	return c.add(c.sum, v), nil
}

func (c *conflate[T, S]) emit(ctx context.Context, emit flow.RouteEmit[S]) {
	emit(0, flow.Join(ctx, c.sum, c.held))
	clear(c.held)
	var none S
	c.held, c.sum = c.held[:0], none
}

func (c *conflate[T, S]) Waiting(int) bool { return len(c.held) > 0 }

func (c *conflate[T, S]) Pull(ctx context.Context, _ int, emit flow.RouteEmit[S]) error {
	c.emit(ctx, emit)
	return nil
}

func (c *conflate[T, S]) End(ctx context.Context, emit flow.RouteEmit[S]) error {
	if len(c.held) > 0 {
		c.emit(ctx, emit)
	}
	return nil
}

// Extrapolate invents values while its output waits. It passes all real values on. While the
// stage behind it waits for more, it adds others, such as frames between two positions or the
// last price again. The function next returns the n-th value after last, with n from 1. It returns
// false to invent no more until the next real value. A panic of next ends the inventions for this
// value and is logged.
//
// Invented values belong to no entry and have no metadata. They are made as fast as the stage behind
// takes them, up to one ahead. So limit the rate behind it, with Throttle for example.
//
//	in   --1-----------5--|
//	out  --1--2--3--4--5--|
//
// Order: kept; invented values follow their real value. Acks: carried by the output; invented values have none.
// Holds: the last value, without its entry. Ends: when in ends.
func Extrapolate[T any](
	in flow.Source[T], next func(last T, n int) (v T, ok bool), opts ...flow.StageOption,
) flow.Source[T] {
	return flow.RouteVia(in, "extrapolate", 1, func() flow.RouteHandler[T, T] {
		return &extrapolate[T]{next: next}
	}, with(opts, function("next", next != nil), flow.Async(), flow.ChunkSize(1))...)[0]
}

type extrapolate[T any] struct {
	next func(T, int) (T, bool)
	last T
	n    int // invented values after last
	some bool
}

func (e *extrapolate[T]) Handle(_ context.Context, m flow.Message[T], emit flow.RouteEmit[T]) error {
	emit(0, m)
	e.last, e.n, e.some = m.Value, 0, true
	return nil
}

func (e *extrapolate[T]) Waiting(int) bool { return e.some }

func (e *extrapolate[T]) Pull(ctx context.Context, _ int, emit flow.RouteEmit[T]) error {
	e.n++
	v, ok, err := e.invent()
	if err != nil {
		flow.Logger(ctx).Warn("extrapolate: no more values are invented", "stage", flow.StageName(ctx), "error", err)
	}
	if e.some = ok && err == nil; e.some {
		emit(0, flow.NewMessage(v, flow.Meta{}))
	}
	return nil
}

func (e *extrapolate[T]) invent() (v T, ok bool, err error) {
	defer flow.Catch(&err)
	v, ok = e.next(e.last, e.n)
	return v, ok, nil
}
