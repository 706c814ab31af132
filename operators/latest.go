package operators

import (
	"context"
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
)

// WithLatest combines each message with the latest of a side. The side may carry settings, prices or
// the current state of something. No message of in is read before the side has its first value,
// however long that takes. A Watchdog for NoFirst on the side limits the wait. But in is read
// anyway if another stage reads the same source or this stage was restarted. Its messages then wait
// for a value of the side, as many as its edge and its credits admit, and after that in stops
// reading. When the side ends without a value, these messages go back to their source, or are
// dropped if it cannot deliver them again or still reads for another stage. If f returns an error
// or panics, the fault policy decides on the message of in.
//
//	in    --1-----2--3-----4--|
//	side  -----a--------b-----|
//	out   -----1a-2a-3a----4b-|
//
// Order: kept. Acks: carried by the output; a value of the side is done when it has arrived.
// Holds: one value of the side, besides two chunks waiting on each input. Ends: when both inputs have ended.
func WithLatest[A, B, C any](
	in flow.Source[A], side flow.Source[B], f func(context.Context, A, B) (C, error), opts ...flow.StageOption,
) flow.Source[C] {
	return flow.Pair("with-latest", in, side, func() flow.PairHandler[A, B, C] {
		return &withLatest[A, B, C]{f: f}
	}, with(opts, function("f", f != nil), flow.InTurn())...)
}

type withLatest[A, B, C any] struct {
	f      func(context.Context, A, B) (C, error)
	latest B
	has    bool
}

func (w *withLatest[A, B, C]) Left(ctx context.Context, m flow.Message[A], emit flow.Emit[C]) error {
	return combine(ctx, m, m.Value, w.latest, w.f, emit)
}

func (w *withLatest[A, B, C]) Right(_ context.Context, m flow.Message[B], _ flow.Emit[C]) error {
	w.latest, w.has = m.Value, true
	return nil
}

// sideFirst reads the side first, so that its value is fresh.
var sideFirst = []int{1, 0}

func (w *withLatest[A, B, C]) Pick([]bool) []int {
	if !w.has {
		return rightOnly
	}
	return sideFirst
}

// CombineLatest combines the latest values of two sources. There is an output whenever one of them
// has a new value, as soon as both have one. An output descends from the newer of its two messages,
// and only that one gets its outcome. If f returns an error or panics, the fault policy decides on
// the newer message, and its value is nevertheless the latest. After a restart of the stage both
// sides begin again without a value.
//
//	a    --1--------2--------|
//	b    -----a--b-----c-----|
//	out  -----1a-1b-2b-2c----|
//
// Order: of arrival. Acks: carried by the output; without one it is done at once.
// Holds: one value of each side, besides two chunks waiting on each input. Ends: when both inputs have ended.
func CombineLatest[A, B, C any](
	a flow.Source[A], b flow.Source[B], f func(context.Context, A, B) (C, error), opts ...flow.StageOption,
) flow.Source[C] {
	return flow.Pair("combine-latest", a, b, func() flow.PairHandler[A, B, C] {
		return &combineLatest[A, B, C]{f: f}
	}, with(opts, function("f", f != nil))...)
}

type combineLatest[A, B, C any] struct {
	f    func(context.Context, A, B) (C, error)
	a    A
	b    B
	hasA bool
	hasB bool
}

func (c *combineLatest[A, B, C]) Left(ctx context.Context, m flow.Message[A], emit flow.Emit[C]) error {
	c.a, c.hasA = m.Value, true
	if !c.hasB {
		return nil
	}
	return combine(ctx, m, c.a, c.b, c.f, emit)
}

func (c *combineLatest[A, B, C]) Right(ctx context.Context, m flow.Message[B], emit flow.Emit[C]) error {
	c.b, c.hasB = m.Value, true
	if !c.hasA {
		return nil
	}
	return combine(ctx, m, c.a, c.b, c.f, emit)
}

// combine emits the result of f as a descendant of m. A panic of f becomes an error, because the
// framework would replace the handler, with its latest values.
func combine[M, A, B, C any](
	ctx context.Context, m flow.Message[M], a A, b B, f func(context.Context, A, B) (C, error), emit flow.Emit[C],
) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("operators: combine: %w", err)
		}
	}()
	defer flow.Catch(&err)
	v, err := f(ctx, a, b)
	if err == nil {
		emit(flow.Derive(m, v))
	}
	return err
}
