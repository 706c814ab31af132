package operators

import (
	"context"
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators/internal/lru"
)

// Distinct drops values whose key was seen before. It remembers the most keys
// that were seen last, in memory, until the stage is restarted. A key is remembered as soon as its
// value is passed on. An entry that is delivered again is not a duplicate of itself, and passes.
// Keys that are not equal to themselves (NaN) always pass. An error or a panic of key is a fault of
// the message.
//
// Distinct is for streams with repeated values. Dedupe is for messages that must be handled once: it
// remembers a key only when the work behind it is done, and may share the keys between processes.
//
//	in   --1--2--1--3--2--|
//	out  --1--2-----3-----|
//
// Order: kept. Acks: carried by what passes; the rest is done here.
// Holds: most keys. Ends: when in ends.
func Distinct[T any, K comparable](
	in flow.Source[T], key func(T) K, most int, opts ...flow.StageOption,
) flow.Source[T] {
	return flow.Step(in, "distinct", func() flow.StepFunc[T, T] {
		d := &distinct[K]{most: most}
		return func(_ context.Context, m flow.Message[T]) (flow.Message[T], bool, error) {
			k, err := calm(m.Value, key)
			if err != nil {
				return m, false, fmt.Errorf("operators: distinct: key: %w", err)
			}
			return m, k != k || d.first(k, delivery{m.ID(), m.Attempt()}), nil
		}
	}, with(opts, function("key", key != nil), atLeastOne("most", most, "keys"), oneState)...)
}

type distinct[K comparable] struct {
	most int
	seen lru.Map[K, delivery]
}

// delivery is the message that had a key first.
type delivery struct {
	id      string
	attempt int
}

// first reports whether a key is new, or comes with a new delivery of the entry that had it first.
func (d *distinct[K]) first(k K, by delivery) bool {
	if was := d.seen.Use(k); was != nil {
		again := by.id != "" && by.id == was.id && by.attempt > was.attempt
		if again {
			*was = by
		}
		return again
	}
	if d.seen.Len() >= d.most {
		oldest, _ := d.seen.Oldest()
		d.seen.Delete(oldest)
	}
	d.seen.Add(k, by)
	return true
}
