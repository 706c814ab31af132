package operators

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators/state"
)

// Stateful calls f with each value and its key's state. f reads and changes the state through
// the cell. It passes on any number of results with emit, and only until it returns.
// When f returns an error or panics, the changes of the cell and the results are dropped, and the
// fault policy decides on the message.
//
// A cell has a timer (see state.Cell). When it is due, onTimer is called for the key. The timer is
// removed first; onTimer may set it again. Results of onTimer carry no entry. If onTimer fails, its
// changes and results are dropped, the failure is logged, and it is called again after 10 seconds.
// It may be nil; then f must not set timers.
//
// The state is kept in store. A nil store is a state.Memory that lasts until the stage is restarted.
// Give a &state.Memory to keep the state over restarts, or to choose how many keys it has. An entry
// that is delivered again is handled again. A key that is not equal to itself (NaN) has no state.
//
//	in   --a--b--a--a---------|
//	out  -----------3---a-----|  f counts, and the timer of a is due
//
// Order: kept. Acks: an entry is acked when all results are.
// Holds: the store's keys, and what one call emits, up to a chunk. Ends: when in ends; timers do not delay it.
func Stateful[K comparable, S, T, U any](
	in flow.Source[T], key func(T) K, store state.Store[K, S],
	f func(ctx context.Context, c *state.Cell[K, S], v T, emit func(U)) error,
	onTimer func(ctx context.Context, c *state.Cell[K, S], emit func(U)) error,
	opts ...flow.StageOption,
) flow.Source[U] {
	return flow.Via(in, "stateful", func() flow.Handler[T, U] {
		h := &stateful[K, S, T, U]{key: key, store: store, f: f, onTimer: onTimer}
		if store == nil {
			h.store = &state.Memory[K, S]{}
		}
		h.pass = func(v U) {
			if h.emit == nil {
				panic("operators: Stateful: emit was called after the function returned")
			}
			h.emit(flow.Derive(h.m, v))
		}
		h.value = h.callF
		return h
	}, with(opts, function("key", key != nil), function("f", f != nil),
		flow.Traits{OneWorker: "each worker would have a state of its own; use ByKey for several"}, flow.Async())...)
}

// stateful keeps the current message, so that one emit function serves all calls.
type stateful[K comparable, S, T, U any] struct {
	key     func(T) K
	store   state.Store[K, S]
	f       func(context.Context, *state.Cell[K, S], T, func(U)) error
	onTimer func(context.Context, *state.Cell[K, S], func(U)) error

	// Made once, so that a message costs no allocation.
	pass  func(U)
	value func(context.Context, *state.Cell[K, S]) error // the call of f
	cell  state.Cell[K, S]                               // of the current call

	m    flow.Message[T]
	emit flow.Emit[U]
}

// errNoTimer is the error of a call of f that sets a timer though there is no onTimer.
var errNoTimer = errors.New("operators: stateful: a timer was set, but onTimer is nil")

const againAfter = 10 * time.Second

func (h *stateful[K, S, T, U]) Handle(ctx context.Context, m flow.Message[T], emit flow.Emit[U]) error {
	key, err := calm(m.Value, h.key)
	if err != nil {
		return fmt.Errorf("operators: stateful: key: %w", err)
	}
	h.m = m
	return h.call(ctx, key, emit, h.value)
}

// callF calls f with the current message.
func (h *stateful[K, S, T, U]) callF(ctx context.Context, c *state.Cell[K, S]) error {
	err := h.f(ctx, c, h.m.Value, h.pass)
	if err == nil && h.onTimer == nil && !c.Wake().IsZero() {
		return errNoTimer
	}
	return err
}

// call calls f with the cell of a key, and saves its changes.
func (h *stateful[K, S, T, U]) call(
	ctx context.Context, key K, emit flow.Emit[U], f func(context.Context, *state.Cell[K, S]) error,
) error {
	record, err := h.store.Load(ctx, key)
	if err != nil {
		return fmt.Errorf("operators: stateful: load: %w", err)
	}
	h.cell, h.emit = *state.NewCell(key, record), emit
	err, panicked := caught(ctx, &h.cell, f)
	r, changed := h.cell.Record()
	h.cell, h.m, h.emit = state.Cell[K, S]{}, flow.Message[T]{}, nil
	if panicked != nil {
		return fmt.Errorf("operators: stateful: %w", panicked) // a bare one would cost the stage its state
	}
	if err != nil {
		return err
	}
	if changed {
		if err := h.store.Save(ctx, key, r); err != nil {
			return fmt.Errorf("operators: stateful: save: %w", err)
		}
	}
	return nil
}

// caught calls f and returns its panic apart from its error.
func caught[C any](ctx context.Context, c C, f func(context.Context, C) error) (err, panicked error) {
	defer flow.Catch(&panicked)
	return f(ctx, c), nil
}

func (h *stateful[K, S, T, U]) Next() time.Time {
	if h.onTimer == nil {
		return time.Time{}
	}
	return h.store.Next()
}

// Ring calls onTimer for one key. If more are due, it is called again.
func (h *stateful[K, S, T, U]) Ring(ctx context.Context, emit flow.Emit[U]) error {
	now := time.Now()
	key, due, err := h.store.Due(ctx, now)
	if err != nil || !due {
		return err
	}
	var results []U
	err = h.call(ctx, key, func(m flow.Message[U]) { results = append(results, m.Value) },
		func(ctx context.Context, c *state.Cell[K, S]) error {
			c.WakeAt(time.Time{})
			return h.onTimer(ctx, c, h.pass)
		})
	if err == nil {
		for _, v := range results {
			emit(flow.NewMessage(v, flow.Meta{}))
		}
		return nil
	}
	if flow.IsPermanent(err) {
		return err
	}
	flow.Logger(ctx).
		Warn("timer failed, will try again", "stage", flow.StageName(ctx), "after", againAfter, "error", err)
	return h.call(ctx, key, emit, func(_ context.Context, c *state.Cell[K, S]) error {
		c.WakeAt(now.Add(againAfter))
		return nil
	})
}
