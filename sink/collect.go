package sink

import (
	"context"
	"slices"
	"sync"

	"github.com/streamerson/streamerson-go/flow"
)

// Collect is a sink that keeps every value in memory, for tests, examples and small results. It
// grows without bound.
//
// Order: kept. Acks: a value is acked when it is kept. Ends: with its input; the values stay, and
// further runs add to them. Errors: none.
func Collect[T any](opts ...flow.StageOption) (flow.Sink[T], *Collected[T]) {
	c := &Collected[T]{}
	return flow.NewSink("collect", func() flow.Writer[T] { return c }, opts...), c
}

// Collected holds the values of a Collect sink. It may be read while the graph runs.
type Collected[T any] struct {
	mu     sync.Mutex // guards values
	values []T
}

// Values returns what has been collected so far. The slice is the caller's.
func (c *Collected[T]) Values() []T {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.values)
}

// Len returns how many values have been collected so far.
func (c *Collected[T]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.values)
}

// Write implements flow.Writer: it keeps the values of a chunk.
func (c *Collected[T]) Write(_ context.Context, chunk []flow.Message[T]) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range chunk {
		c.values = append(c.values, chunk[i].Value)
	}
	return nil
}
