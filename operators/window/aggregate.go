package window

import (
	"cmp"
	"math"
	"slices"
)

// Aggregate computes the result of a window from its values, one by one. A is what it has computed
// so far. All functions are required.
//
// A panic or an error of Add is a fault of the value. So Add must check the value before it changes
// what A points to. After a panic of Merge or Result the entries of the window go back to their
// source.
type Aggregate[T, A, R any] struct {
	// New returns the aggregate of no values.
	New func() A
	// Add returns the aggregate with one more value. It may change what its argument points to.
	Add func(A, T) (A, error)
	// Merge returns the aggregate of two: of windows with shared panes and of joined sessions. It
	// may change what a points to, but not what b points to.
	Merge func(a, b A) A
	// Result returns the result. It must not change its argument, because a window may fire often.
	Result func(A) R
}

// Number is a type that can be summed.
type Number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

// Count counts the values.
func Count[T any]() Aggregate[T, int, int] {
	return simple(func(n int, _ T) int { return n + 1 }, func(a, b int) int { return a + b })
}

// Sum adds up numbers. It ignores NaN. A sum of integers may overflow.
func Sum[T any, N Number](of func(T) N) Aggregate[T, N, N] {
	return simple(func(sum N, v T) N {
		if n := of(v); n == n {
			sum += n
		}
		return sum
	}, func(a, b N) N { return a + b })
}

// simple is an aggregate that is its own result.
func simple[T, A any](add func(A, T) A, merge func(a, b A) A) Aggregate[T, A, A] {
	return Aggregate[T, A, A]{
		New:    func() (zero A) { return zero },
		Add:    func(a A, v T) (A, error) { return add(a, v), nil },
		Merge:  merge,
		Result: func(a A) A { return a },
	}
}

// Extreme is the state of Min and Max.
type Extreme[N any] struct {
	Value N
	Has   bool
}

// Min finds the least value. It ignores NaN; if all values are NaN the result is the zero value.
func Min[T any, N cmp.Ordered](of func(T) N) Aggregate[T, Extreme[N], N] {
	return extreme(of, func(a, b N) bool { return a < b })
}

// Max finds the greatest value. It ignores NaN; if all values are NaN the result is the zero value.
func Max[T any, N cmp.Ordered](of func(T) N) Aggregate[T, Extreme[N], N] {
	return extreme(of, func(a, b N) bool { return a > b })
}

func extreme[T any, N cmp.Ordered](of func(T) N, better func(a, b N) bool) Aggregate[T, Extreme[N], N] {
	merge := func(a, b Extreme[N]) Extreme[N] {
		if b.Has && (!a.Has || better(b.Value, a.Value)) {
			return b
		}
		return a
	}
	return Aggregate[T, Extreme[N], N]{
		New: func() Extreme[N] { return Extreme[N]{} },
		Add: func(a Extreme[N], v T) (Extreme[N], error) {
			n := of(v)
			return merge(a, Extreme[N]{n, n == n}), nil
		},
		Merge:  merge,
		Result: func(a Extreme[N]) N { return a.Value },
	}
}

// Average is the state of Mean.
type Average struct {
	Sum float64
	N   int
}

// Mean computes the arithmetic mean. It ignores NaN; the mean of no values is NaN.
func Mean[T any, N Number](of func(T) N) Aggregate[T, Average, float64] {
	return Aggregate[T, Average, float64]{
		New: func() Average { return Average{} },
		Add: func(a Average, v T) (Average, error) {
			if f := float64(of(v)); !math.IsNaN(f) {
				a.Sum, a.N = a.Sum+f, a.N+1
			}
			return a, nil
		},
		Merge:  func(a, b Average) Average { return Average{a.Sum + b.Sum, a.N + b.N} },
		Result: func(a Average) float64 { return a.Sum / float64(a.N) },
	}
}

// Values collects the values, in the order of their arrival within each pane. It keeps at most most
// of them; further ones are counted in Result.N, but not kept.
func Values[T any](most int) Aggregate[T, []T, []T] {
	return Aggregate[T, []T, []T]{
		New: func() []T { return nil },
		Add: func(a []T, v T) ([]T, error) {
			if len(a) < most {
				a = append(a, v)
			}
			return a, nil
		},
		Merge:  func(a, b []T) []T { return append(a, b[:max(min(len(b), most-len(a)), 0)]...) },
		Result: slices.Clone[[]T],
	}
}

// Two is the state of Both.
type Two[A, B any] struct {
	A A
	B B
}

// Both computes two aggregates of the same windows; join makes one result of theirs.
func Both[T, A, B, R, S, X any](
	a Aggregate[T, A, R], b Aggregate[T, B, S], join func(R, S) X,
) Aggregate[T, Two[A, B], X] {
	return Aggregate[T, Two[A, B], X]{
		New: func() Two[A, B] { return Two[A, B]{a.New(), b.New()} },
		Add: func(s Two[A, B], v T) (_ Two[A, B], err error) {
			if s.A, err = a.Add(s.A, v); err == nil {
				s.B, err = b.Add(s.B, v)
			}
			return s, err
		},
		Merge:  func(x, y Two[A, B]) Two[A, B] { return Two[A, B]{a.Merge(x.A, y.A), b.Merge(x.B, y.B)} },
		Result: func(s Two[A, B]) X { return join(a.Result(s.A), b.Result(s.B)) },
	}
}
