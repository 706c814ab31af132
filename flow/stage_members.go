package flow

import (
	"errors"
	"reflect"
	"slices"
	"time"
)

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
