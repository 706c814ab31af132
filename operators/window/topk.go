package window

import (
	"cmp"
	"maps"
	"slices"
)

// Ranked is an element of TopK's result.
type Ranked[E cmp.Ordered] struct {
	Value E   `json:"value"`
	N     int `json:"n"`
	// Error is by how much N may be too large. It is 0 as long as a window has no more different
	// values than TopK counts.
	Error int `json:"error,omitempty"`
}

// Idea of TopK (Space-Saving, by Metwally and others): count at most a fixed number of values. A new
// value beyond that replaces the one with the lowest count, and takes over its count, as it may have
// occurred so often before. So a frequent value is never missed, and its count is never too low.

// Tally is the state of TopK: the counts, and their possible errors.
type Tally[E comparable] map[E]Counted

// Counted is a count and by how much it may be too large.
type Counted struct{ N, Error int }

// TopK finds the k most frequent values, the most frequent first; equals are sorted by value. It
// keeps at most counters different values, so its memory is bounded. The counts are exact for fewer
// different values. Otherwise they are too high by at most the number of values divided by
// counters. Fewer counters than k are taken as k. It ignores NaN.
func TopK[T any, E cmp.Ordered](k, counters int, of func(T) E) Aggregate[T, Tally[E], []Ranked[E]] {
	counters = max(counters, k, 1)
	return Aggregate[T, Tally[E], []Ranked[E]]{
		New: func() Tally[E] { return make(Tally[E]) },
		Add: func(t Tally[E], v T) (Tally[E], error) {
			if e := of(v); e == e {
				t.add(e, Counted{N: 1}, counters)
			}
			return t, nil
		},
		Merge: func(a, b Tally[E]) Tally[E] { return merged(a, b, counters) },
		Result: func(t Tally[E]) []Ranked[E] {
			all := ranked(t)
			return all[:max(min(k, len(all)), 0):max(min(k, len(all)), 0)]
		},
	}
}

func (t Tally[E]) add(e E, by Counted, counters int) {
	c, known := t[e]
	if !known && len(t) >= counters {
		least := t.least()
		c = Counted{t[least].N, t[least].N}
		delete(t, least)
	}
	t[e] = Counted{c.N + by.N, c.Error + by.Error}
}

// least returns a value with the lowest count. It is called for values that are not counted, in full
// tallies only.
func (t Tally[E]) least() (least E) {
	lowest := -1
	for e, c := range t {
		if lowest < 0 || c.N < lowest {
			least, lowest = e, c.N
		}
	}
	return least
}

// merged adds b to a. A value that is missing in a full tally may have occurred as often as the
// least frequent one in it.
func merged[E cmp.Ordered](a, b Tally[E], counters int) Tally[E] {
	missing := func(t Tally[E]) Counted {
		if len(t) < counters {
			return Counted{}
		}
		n := t[t.least()].N
		return Counted{n, n}
	}
	inA, inB := missing(a), missing(b)
	for e, c := range a {
		if _, both := b[e]; !both {
			a[e] = Counted{c.N + inB.N, c.Error + inB.Error}
		}
	}
	for e, c := range b {
		of, both := a[e]
		if !both {
			of = inA
		}
		a[e] = Counted{of.N + c.N, of.Error + c.Error}
	}
	if len(a) > counters {
		for _, r := range ranked(a)[counters:] {
			delete(a, r.Value)
		}
	}
	return a
}

func ranked[E cmp.Ordered](t Tally[E]) []Ranked[E] {
	all := make([]Ranked[E], 0, len(t))
	for _, e := range slices.Sorted(maps.Keys(t)) {
		all = append(all, Ranked[E]{e, t[e].N, t[e].Error})
	}
	slices.SortStableFunc(all, func(a, b Ranked[E]) int { return cmp.Compare(b.N, a.N) })
	return all
}
