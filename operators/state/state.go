// Package state has the state of keys, as [operators.Stateful] gives it to its functions: a Cell for
// each key, kept in a Store.
//
//	func(ctx context.Context, c *state.Cell[string, int], l Login, emit func(Alert)) error {
//		n, _ := c.Get()
//		c.Set(n + 1)
//		c.WakeAt(time.Now().Add(time.Hour))
//		return nil
//	}
//
// [operators.Stateful]: https://pkg.go.dev/github.com/streamerson/streamerson-go/operators#Stateful
package state

import (
	"context"
	"time"
)

// Record is what a store has of a key: a value and a timer, each of which may be missing.
type Record[S any] struct {
	Value S
	Has   bool      // there is a value
	Wake  time.Time // when the timer is due; zero: no timer
}

// Empty reports whether the record has neither a value nor a timer.
func (r Record[S]) Empty() bool { return !r.Has && r.Wake.IsZero() }

// Store keeps the records of the keys of one stage. *Memory is one.
type Store[K comparable, S any] interface {
	// Load returns the record of a key, or an empty record if the store does not have the key.
	Load(ctx context.Context, key K) (Record[S], error)
	// Save replaces the record of a key. An empty record removes the key.
	Save(ctx context.Context, key K, r Record[S]) error
	// Next returns when the first timer is due; zero if there is no timer. It must be quick.
	Next() time.Time
	// Due returns the key of the first timer, if that is due at now.
	Due(ctx context.Context, now time.Time) (key K, due bool, err error)
}

// Cell is the state of one key during one call. Changes are buffered. They are saved when the
// function returns without an error, and dropped otherwise. So do not change what the value points
// to, such as a map, but set a changed copy. A Cell must not be used after the call.
type Cell[K comparable, S any] struct {
	key     K
	record  Record[S]
	changed bool
}

// NewCell makes the cell of a key. Tests of a function need it; a stage makes the cells itself.
func NewCell[K comparable, S any](key K, r Record[S]) *Cell[K, S] {
	return &Cell[K, S]{key: key, record: r}
}

// Key returns the key.
func (c *Cell[K, S]) Key() K { return c.key }

// Get returns the value, and whether there is one. Without one it returns the zero value.
func (c *Cell[K, S]) Get() (S, bool) { return c.record.Value, c.record.Has }

// Set sets the value.
func (c *Cell[K, S]) Set(v S) { c.record.Value, c.record.Has, c.changed = v, true, true }

// Delete removes the value and the timer.
func (c *Cell[K, S]) Delete() { c.record, c.changed = Record[S]{}, true }

// WakeAt sets the key's timer, and replaces an earlier one: a key has one timer. The zero time
// removes it.
func (c *Cell[K, S]) WakeAt(at time.Time) { c.record.Wake, c.changed = at, true }

// Wake returns when the key's timer is due. It returns zero if the key has no timer.
func (c *Cell[K, S]) Wake() time.Time { return c.record.Wake }

// Record returns the record with the changes so far, and whether there are any.
func (c *Cell[K, S]) Record() (r Record[S], changed bool) { return c.record, c.changed }
