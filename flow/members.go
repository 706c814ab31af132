package flow

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"reflect"
	"slices"
	"time"
)

// Bisect makes a function over a slice isolate its bad values. When f fails, it is called again with
// each half of the slice, and so on, until the values that make it fail are found. The function
// returns a *WriteError with an error for each of these, so only they fail:
//
//	sink.Batches(flow.Bisect(insert))
//	flow.To(operators.Batch(rows, 500, time.Second), sink.Func(flow.Bisect(insert)))
//
// f must do all or nothing, as a transaction does: a call that fails must leave nothing behind. One
// bad value of n costs about 2·log2(n) more calls, and many cost at most 2n. If nothing has
// succeeded after about 2·log2(n) calls, the values are not the cause, but a server that is away,
// for example. Then all values fail with the first error.
//
// A verdict (Skip, RetryAfter, Reject), a Permanent error, and any error after ctx is done are
// returned as they are. If f itself returns a *WriteError with an error per value, it is kept. A
// panic of f is an error too.
func Bisect[T any](f func(ctx context.Context, values []T) error) func(ctx context.Context, values []T) error {
	if f == nil {
		return nil // Validate reports the nil function for the stage that receives it
	}
	each := BisectResults(func(ctx context.Context, values []T) ([]struct{}, error) {
		err := f(ctx, values)
		return make([]struct{}, len(values)), err
	})
	return func(ctx context.Context, values []T) error {
		_, err := each(ctx, values)
		return err
	}
}

// BisectResults is Bisect for a function that returns a result per value, such as that of
// operators.MapBatch. The results of the values that failed are zero.
func BisectResults[T, U any](
	f func(ctx context.Context, values []T) ([]U, error),
) func(ctx context.Context, values []T) ([]U, error) {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, values []T) ([]U, error) {
		results, err := guardResults(ctx, values, f)
		if err == nil || whole(ctx, err, len(values)) {
			return results, err
		}
		b := &bisection[T, U]{f: f, results: make([]U, len(values)), errs: make([]error, len(values)), failed: 1}
		b.patience = 2 * (bits.Len(uint(len(values))) + 1)
		half := len(values) / 2
		b.search(ctx, values[:half], 0)
		b.search(ctx, values[half:], half)
		if b.stop != nil {
			return nil, b.stop
		}
		if b.worked == 0 && b.failed >= b.patience {
			return nil, err
		}
		return b.results, &WriteError{Errs: b.errs}
	}
}

// whole reports that an error is not about values to be searched for.
func whole(ctx context.Context, err error, n int) bool {
	var partial *WriteError
	if errors.As(err, &partial) && len(partial.Errs) == n {
		return true
	}
	return n < 2 || decided(ctx, err)
}

// decided reports an error that is not about any value.
func decided(ctx context.Context, err error) bool {
	_, verdict := Verdict(err)
	return verdict || IsPermanent(err) || ctx.Err() != nil
}

// bisection is the search for the bad values of one slice.
type bisection[T, U any] struct {
	f        func(context.Context, []T) ([]U, error)
	results  []U
	errs     []error
	failed   int
	worked   int
	patience int   // calls that may fail before one has worked
	stop     error // ends the search; all values fail with it
}

// search calls f with a part of the slice that begins at index from.
func (b *bisection[T, U]) search(ctx context.Context, values []T, from int) {
	if b.stop != nil || b.worked == 0 && b.failed >= b.patience {
		return
	}
	results, err := guardResults(ctx, values, b.f)
	if err == nil {
		b.worked++
		copy(b.results[from:], results)
		return
	}
	b.failed++
	var partial *WriteError
	switch {
	case errors.As(err, &partial) && len(partial.Errs) == len(values):
		b.worked++
		copy(b.results[from:], results)
		copy(b.errs[from:], partial.Errs)
	case len(values) == 1:
		b.errs[from] = err
		if IsPermanent(err) || ctx.Err() != nil {
			b.stop = err
		}
	case decided(ctx, err):
		b.stop = err
	default:
		half := len(values) / 2
		b.search(ctx, values[:half], from)
		b.search(ctx, values[half:], from+half)
	}
}

// guardResults calls f, returns its panic as an error, and checks the number of its results.
func guardResults[T, U any](
	ctx context.Context, values []T, f func(context.Context, []T) ([]U, error),
) (results []U, err error) {
	defer Catch(&err)
	if results, err = f(ctx, values); err == nil && len(results) != len(values) {
		err = fmt.Errorf("flow: the function returned %s for %s: return one per value",
			plural(len(results), "result"), plural(len(values), "value"))
	}
	return results, err
}

// Idea of settling members: a sink that received a batch may report which of its members it could
// not write. The message's share of the join stays one share. Each failed member gets a share of
// its own that concerns only this member, and the fault policy decides on it. If some members are
// to be retried, the message is written again with the rest of its value. The ends of the other
// members are stored in the join, and count when the message is released.

// memberErrors returns the errors of a message's members if they are settled separately, else nil.
func (s *sinkStage[T]) memberErrors(m Message[T], err error) []error {
	n := m.meta.joined()
	var partial *WriteError
	if !errors.As(err, &partial) || len(partial.Errs) != n {
		partial = nil
	}
	at, inPart := s.part[m.meta]
	switch {
	case inPart && partial == nil: // all remaining members have failed
		errs := make([]error, len(at))
		for i := range at {
			errs[i] = err
		}
		return errs
	case partial == nil || n == 0:
		return nil
	case !inPart && !m.lease.none():
		if j := m.lease.join(); j == nil || len(j.members) != n {
			return nil // its metadata is not that of the join
		}
	}
	return partial.Errs
}

// endedMember marks, in sinkStage.part, a member that is written again only because the others are.
const endedMember = -1

// partly settles the members of a partly written message. If some are to be retried, it returns the
// message with these.
func (s *sinkStage[T]) partly(m Message[T], errs []error, tries int) (_ Message[T], retry bool, wait time.Duration) {
	meta := m.meta
	at := s.part[meta]
	if at == nil { // all members, in order
		at = make([]int, len(errs))
		for i := range at {
			at[i] = i
		}
	}
	left := make([]int, 0, len(errs))
	for i, err := range errs {
		if err == nil || at[i] == endedMember {
			continue
		}
		one := m.lease.ofMember(at[i])
		again, after := s.failed(one, meta.member(i), err, tries)
		if again {
			s.la.ack(one) // it has not ended yet
			left = append(left, i)
			wait = max(wait, after)
		}
	}
	delete(s.part, meta)
	if len(left) == 0 {
		s.la.ack(m.lease)
		s.out++
		return m, false, 0
	}
	members, rest := make([]int, len(left)), make([]*record, meta.joined())
	for i := range rest {
		rest[i] = meta.member(i)
	}
	if v, ok := pick(m.Value, len(errs), left); ok {
		m.Value = v
		for to, i := range left {
			rest[to], members[to] = rest[i], at[i]
		}
		rest = rest[:len(left)]
	} else { // all of it is written again
		members = at
		for i := range at {
			if !slices.Contains(left, i) {
				at[i] = endedMember
			}
		}
	}
	m.meta = meta.joins(rest)
	if s.part == nil {
		s.part = make(map[*record][]int)
	}
	s.part[m.meta] = members
	return m, true, wait
}

// giveBack gives back unfinished messages, and the remaining members of partly written ones. raw
// means that no handler has begun them.
func (s *sinkStage[T]) giveBack(chunk []Message[T], raw bool) {
	for i, m := range chunk {
		at, inPart := s.part[m.meta]
		if !inPart {
			giveBackTo(&s.la.dirty, chunk[i:i+1], raw)
			continue
		}
		for _, member := range at {
			if member != endedMember {
				s.la.nack(m.lease.ofMember(member))
			}
		}
		s.la.ack(m.lease)
	}
}

// ofMember returns a new share of the join that the lease stands for, about its i-th member. The
// caller owns a share.
func (l lease) ofMember(i int) lease {
	j := l.join()
	if j == nil {
		return lease{}
	}
	one := lease{slab: j, of: int32(i) + 1}
	one.share(1)
	return one
}

// pick returns the remaining elements of a slice, as a slice of the same type. It returns false if
// v is not a slice of n elements.
func pick[T any](v T, n int, left []int) (T, bool) {
	all := reflect.ValueOf(v)
	if all.Kind() != reflect.Slice || all.Len() != n {
		return v, false
	}
	some := reflect.MakeSlice(all.Type(), 0, len(left))
	for _, i := range left {
		some = reflect.Append(some, all.Index(i))
	}
	return some.Interface().(T), true
}
