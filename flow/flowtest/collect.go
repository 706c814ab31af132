package flowtest

import (
	"context"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Collector is the test's end of a Collect.
type Collector[T any] struct {
	// Patience is how long assertions wait before they fail. Defaults to 10 s, virtual in a
	// synctest bubble.
	Patience time.Duration

	probe
	msgs    []flow.Message[T]
	chunks  []int
	fails   int
	err     error
	failOn  func(flow.Message[T]) error
	blocked chan struct{} // closed by Unblock; nil when not blocked
	waiting int           // writes that wait for Unblock
	write   Around
}

// Collect makes a sink that keeps arriving values, so that the test can inspect them. In a bubble,
// make it inside.
func Collect[T any](t testing.TB, opts ...flow.StageOption) (flow.Sink[T], *Collector[T]) {
	c := &Collector[T]{Patience: patience, probe: probe{t: t, changed: make(chan struct{})}}
	return flow.NewSink("collect", func() flow.Writer[T] {
		return flow.WriterFunc[T](func(ctx context.Context, chunk []flow.Message[T]) error {
			return around(&c.mu, &c.write, ctx, func() error { return c.take(ctx, chunk) })
		})
	}, opts...), c
}

// take is the sink's write function.
func (c *Collector[T]) take(ctx context.Context, chunk []flow.Message[T]) error {
	if err := c.pass(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.change()
	if c.fails > 0 {
		c.fails--
		return c.err
	}
	partial, failed, took := &flow.WriteError{Errs: make([]error, len(chunk))}, false, 0
	for i, m := range chunk {
		if c.failOn != nil {
			if err := c.failOn(m); err != nil {
				partial.Errs[i], failed = err, true
				continue
			}
		}
		c.msgs = append(c.msgs, m)
		took++
	}
	c.chunks = append(c.chunks, took)
	if failed {
		return partial
	}
	return nil
}

// pass waits while the sink is blocked.
func (c *Collector[T]) pass(ctx context.Context) error {
	c.mu.Lock()
	gate := c.blocked
	if gate != nil {
		c.waiting++
		c.change()
	}
	c.mu.Unlock()
	if gate == nil {
		return nil
	}
	defer c.set(func() { c.waiting-- })
	select {
	case <-gate:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Fail makes the next n writes fail as a whole with err.
func (c *Collector[T]) Fail(n int, err error) { c.set(func() { c.fails, c.err = n, err }) }

// FailOn makes the write of a message fail whenever f returns an error for it; nil removes f.
func (c *Collector[T]) FailOn(f func(flow.Message[T]) error) { c.set(func() { c.failOn = f }) }

// Block makes writes wait until Unblock.
func (c *Collector[T]) Block() {
	c.set(func() {
		if c.blocked == nil {
			c.blocked = make(chan struct{})
		}
	})
}

// Unblock undoes Block.
func (c *Collector[T]) Unblock() {
	c.set(func() {
		if c.blocked != nil {
			close(c.blocked)
			c.blocked = nil
		}
	})
}

// AroundWrite runs each write through a function.
func (c *Collector[T]) AroundWrite(a Around) { c.set(func() { c.write = a }) }

// Values returns what has arrived so far, in order.
func (c *Collector[T]) Values() []T {
	c.mu.Lock()
	defer c.mu.Unlock()
	values := make([]T, len(c.msgs))
	for i, m := range c.msgs {
		values[i] = m.Value
	}
	return values
}

// Messages returns what has arrived so far, with the metadata.
func (c *Collector[T]) Messages() []flow.Message[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]flow.Message[T](nil), c.msgs...)
}

// Chunks returns how many messages each write has taken, for writes that succeeded at least in
// part.
func (c *Collector[T]) Chunks() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]int(nil), c.chunks...)
}

// Wait waits until n values have arrived, and returns all that have arrived.
func (c *Collector[T]) Wait(n int) []T {
	c.t.Helper()
	if !c.await(func() bool { return len(c.msgs) >= n }) {
		c.t.Errorf("collect: %d values have arrived, want %d", len(c.Values()), n)
	}
	return c.Values()
}

// WaitBlocked waits until a write is blocked.
func (c *Collector[T]) WaitBlocked() {
	c.t.Helper()
	if !c.await(func() bool { return c.waiting > 0 }) {
		c.t.Error("collect: no write waits")
	}
}

// Want waits until as many values have arrived, and checks that they are these, in this order.
func (c *Collector[T]) Want(values ...T) { c.t.Helper(); c.want(values, listDiff) }

// WantUnordered is Want for any order.
func (c *Collector[T]) WantUnordered(values ...T) { c.t.Helper(); c.want(values, bagDiff) }

func (c *Collector[T]) want(values []T, diff func(want, got []T) string) {
	c.t.Helper()
	c.await(func() bool { return len(c.msgs) >= len(values) })
	if d := diff(values, c.Values()); d != "" {
		c.t.Errorf("collect: values (-want +got):\n%s", d)
	}
}

func (c *Collector[T]) await(cond func() bool) bool { return c.until(c.Patience, cond) }
