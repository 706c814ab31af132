package operators

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators/internal/due"
)

// Delay passes each message on after a time. d returns it for a value, and it counts from the
// arrival of the message here. Zero or less passes it on at once. Messages are passed on in the order in which they
// fall due. If n messages wait, the stream waits until the first falls due. An error or panic of d
// is a fault of its message.
//
// A waiting message keeps its entry unsettled and its lease renewed, in this process. A stop gives it
// back, so it starts to wait again. A drain waits for all, up to flow.DrainTimeout. For delays that
// must survive a restart, write to a stream with the sink's At.
//
//	in   --1--2-----------|
//	out  --------1--2-----|
//
// Order: by due time; of equal ones by arrival. Acks: carried by the output.
// Holds: up to n messages, each for its delay. Ends: when in has ended and the last message was passed on.
func Delay[T any](
	in flow.Source[T], n int, d func(T) time.Duration, opts ...flow.StageOption,
) flow.Source[T] {
	return flow.Via(in, "delay", func() flow.Handler[T, T] {
		return &delay[T]{n: n, d: d}
	}, with(
		opts,
		atLeastOne("n", n, "messages that wait"),
		function("d", d != nil),
		flow.Async(),
		flow.Traits{
			Holds:     max(n, 0),
			Passes:    true,
			OneWorker: "the messages of several workers would be out of order",
		},
	)...)
}

type delay[T any] struct {
	n       int
	d       func(T) time.Duration
	waiting dues[struct{}, T]
	number  uint64
}

func (h *delay[T]) Handle(ctx context.Context, m flow.Message[T], emit flow.Emit[T]) error {
	after, err := calm(m.Value, h.d)
	if err != nil {
		return fmt.Errorf("operators: delay: d: %w", err)
	}
	for h.waiting.Len() >= h.n {
		if err := flow.Sleep(ctx, time.Until(h.waiting.First().at)); err != nil {
			return err
		}
		h.first(emit)
	}
	h.number++
	d := &delayed[struct{}, T]{at: time.Now().Add(max(after, 0)), number: h.number, held: flow.Hold(ctx, m)}
	h.waiting.Add(d)
	return nil
}

func (h *delay[T]) first(emit flow.Emit[T]) {
	d := h.waiting.Take()
	emit(d.held.Message)
	d.held.Done()
}

func (h *delay[T]) Next() time.Time { return h.waiting.next() }

func (h *delay[T]) Ring(_ context.Context, emit flow.Emit[T]) error {
	for now := time.Now(); h.waiting.ready(now); {
		h.first(emit)
	}
	return nil
}

func (h *delay[T]) End(ctx context.Context, emit flow.Emit[T]) error {
	for h.waiting.Len() > 0 {
		if err := flow.Sleep(ctx, time.Until(h.waiting.First().at)); err != nil {
			return err
		}
		h.first(emit)
	}
	return nil
}

// Debounce passes on the last value of a quiet key. A key is quiet after the time quiet without
// a value of it: a sensor has settled, a user has stopped typing. If values keep coming, the
// last is passed on when the first has waited for most; zero sets no such limit. The values in
// between are done. Up to keys keys wait; for one more, the key that falls due first is passed
// on early. An error or panic of key is a fault of its message.
//
//	in   --a--A--b------------|  a and A have the same key
//	out  -----------A--b------|
//
// Order: kept within a key; keys in the order in which they fall due. Acks: carried by the output;
// a superseded value is done.
// Holds: a message per key, for up to quiet. Ends: when in ends, with the values that wait.
func Debounce[T any, K comparable](
	in flow.Source[T], keys int, quiet, most time.Duration, key func(T) K, opts ...flow.StageOption,
) flow.Source[T] {
	var wrong flow.StageOption
	if most < 0 || most > 0 && most < quiet {
		wrong = flow.Invalid(
			"most",
			fmt.Sprintf("%v for a quiet time of %v", most, quiet),
			"give at least quiet, or zero",
		)
	}
	return flow.Via(in, "debounce", func() flow.Handler[T, T] {
		return &debounce[T, K]{keys: keys, quiet: quiet, most: most, key: key, of: make(map[K]*delayed[K, T])}
	}, with(opts, atLeastOne("keys", keys, "keys"), positive("quiet", quiet), wrong, function("key", key != nil),
		flow.Async(), flow.Traits{Holds: max(keys, 0), HoldsFor: max(quiet, 0),
			OneWorker: "the values of a key would be spread over the workers"})...)
}

type debounce[T any, K comparable] struct {
	keys        int
	quiet, most time.Duration
	key         func(T) K

	of      map[K]*delayed[K, T]
	waiting dues[K, T]
	number  uint64
}

func (h *debounce[T, K]) Handle(ctx context.Context, m flow.Message[T], emit flow.Emit[T]) error {
	key, err := keyOf(m.Value, h.key)
	if err != nil {
		return fmt.Errorf("operators: debounce: key: %w", err)
	}
	now := time.Now()
	d := h.of[key]
	if d == nil {
		if len(h.of) >= h.keys {
			h.first(emit)
		}
		h.number++
		d = &delayed[K, T]{key: key, began: now, number: h.number, held: flow.Hold(ctx, m)}
		d.at = now.Add(h.quiet)
		h.of[key] = d
		h.waiting.Add(d)
		return nil
	}
	d.held.Done()
	d.held, d.at = flow.Hold(ctx, m), now.Add(h.quiet)
	if latest := d.began.Add(h.most); h.most > 0 && latest.Before(d.at) {
		d.at = latest
	}
	h.waiting.Fix(d)
	return nil
}

// keyOf calls the user's function. It returns its panic as an error, and refuses keys that a map
// cannot find again: NaN, and interfaces with values that cannot be compared.
func keyOf[T any, K comparable](v T, key func(T) K) (k K, err error) {
	defer flow.Catch(&err)
	if k = key(v); k != k {
		err = errNaN
	}
	return k, err
}

var errNaN = errors.New("it returned NaN, which equals no key: return another value")

func (h *debounce[T, K]) first(emit flow.Emit[T]) {
	d := h.waiting.Take()
	delete(h.of, d.key)
	emit(d.held.Message)
	d.held.Done()
}

func (h *debounce[T, K]) Next() time.Time { return h.waiting.next() }

func (h *debounce[T, K]) Ring(_ context.Context, emit flow.Emit[T]) error {
	for now := time.Now(); h.waiting.ready(now); {
		h.first(emit)
	}
	return nil
}

func (h *debounce[T, K]) End(_ context.Context, emit flow.Emit[T]) error {
	for h.waiting.Len() > 0 {
		h.first(emit)
	}
	return nil
}

// delayed is a message that waits for a time.
type delayed[K comparable, T any] struct {
	at     time.Time
	number uint64 // decides between equal times
	place  due.Place
	held   flow.Held[T]

	key   K
	began time.Time // when the first value of the key came
}

// Place implements due.Item.
func (d *delayed[K, T]) Place() *due.Place { return &d.place }

// Before implements due.Item.
func (d *delayed[K, T]) Before(other *delayed[K, T]) bool {
	if c := d.at.Compare(other.at); c != 0 {
		return c < 0
	}
	return d.number < other.number
}

// dues is a queue of waiting messages.
type dues[K comparable, T any] struct{ due.Queue[*delayed[K, T]] }

// next returns when the first message falls due; the zero time if none waits.
func (d *dues[K, T]) next() time.Time {
	if d.Len() == 0 {
		return time.Time{}
	}
	return d.First().at
}

// ready reports whether the first message is due.
func (d *dues[K, T]) ready(now time.Time) bool { return d.Len() > 0 && !d.First().at.After(now) }
