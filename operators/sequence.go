package operators

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Gap is the reaction of MergeSequence to a missing number.
type Gap uint8

const (
	// SkipGap continues without the missing numbers. If they come later, they pass at once.
	SkipGap Gap = iota
	// StopAtGap stops the graph with an error that names the missing number.
	StopAtGap
)

// MergeSequence puts messages into the order of their numbers. Use it behind the outputs of a
// Partition or a Balance, for example. seq returns a message's number: the output has n, n+1, n+2
// and so on. A message with a later number waits. The missing number is a gap when window messages
// wait, when they have waited for wait, or when all inputs have ended. The first number is the
// lowest of the messages that arrive first, found in the same way. A number that is lower than the
// next, because it is late or repeated, passes at once. A panic of seq is a fault of its message.
//
//	a    --1-----3--4-----|
//	b    -----2--------6--|
//	out  --1--2--3--4-----6|  5 is a gap
//
// Order: by number. Acks: carried by the output.
// Holds: up to window messages, for up to wait. Ends: when all inputs have ended.
func MergeSequence[T any](
	ins []flow.Source[T], seq func(T) uint64, window int, wait time.Duration, gap Gap, opts ...flow.StageOption,
) flow.Source[T] {
	own := []flow.StageOption{function("seq", seq != nil), atLeastOne("window", window, "waiting messages"),
		positive("wait", wait), flow.Traits{Holds: max(window, 0), HoldsFor: max(wait, 0)}}
	if gap > StopAtGap {
		own = append(own, flow.Invalid("gap", fmt.Sprintf("policy %d", gap), "give SkipGap or StopAtGap"))
	}
	return flow.Gather("merge-sequence", slices.Clone(ins), func() flow.GatherHandler[T, T] {
		return &sequence[T]{seq: seq, window: window, wait: wait, gap: gap}
	}, with(opts, own...)...)
}

// sequence keeps the messages that came too early.
type sequence[T any] struct {
	seq    func(T) uint64
	window int
	wait   time.Duration
	gap    Gap

	begun bool
	next  uint64
	early []numbered[T] // sorted by number
	due   time.Time     // when the missing number is a gap; zero: never
}

type numbered[T any] struct {
	n    uint64
	held flow.Held[T]
}

func (s *sequence[T]) Handle(ctx context.Context, _ int, m flow.Message[T], emit flow.Emit[T]) error {
	n, err := calm(m.Value, s.seq)
	if err != nil {
		return fmt.Errorf("operators: merge-sequence: seq: %w", err)
	}
	if s.begun && n == s.next {
		s.next++
		emit(m)
		s.release(emit)
		return nil
	}
	if s.begun && n < s.next {
		emit(m)
		return nil
	}
	at, _ := slices.BinarySearchFunc(s.early, n, func(e numbered[T], n uint64) int {
		if e.n <= n { // duplicates stay in the order of arrival
			return -1
		}
		return 1
	})
	s.early = slices.Insert(s.early, at, numbered[T]{n, flow.Hold(ctx, m)})
	if len(s.early) == 1 {
		s.due = time.Now().Add(s.wait)
	}
	if len(s.early) >= s.window {
		return s.skip(emit)
	}
	return nil
}

// release passes on the messages that are next.
func (s *sequence[T]) release(emit flow.Emit[T]) {
	passed := 0
	for ; passed < len(s.early); passed++ {
		first := s.early[passed]
		if twice := passed > 0 && first.n == s.next-1; first.n != s.next && !twice {
			break
		}
		emit(first.held.Message)
		first.held.Done()
		s.next = first.n + 1
	}
	if passed == 0 {
		return
	}
	s.early = slices.Delete(s.early, 0, passed)
	s.due = time.Time{}
	if len(s.early) > 0 {
		s.due = time.Now().Add(s.wait)
	}
}

// skip continues with the lowest number that waits.
func (s *sequence[T]) skip(emit flow.Emit[T]) error {
	first := s.early[0].n
	if s.begun && s.gap == StopAtGap {
		return flow.Permanent(
			fmt.Errorf("operators: merge-sequence: number %d is missing, %d has arrived", s.next, first),
		)
	}
	s.begun, s.next = true, first
	s.release(emit)
	return nil
}

func (s *sequence[T]) Next() time.Time { return s.due }

func (s *sequence[T]) Ring(_ context.Context, emit flow.Emit[T]) error { return s.skip(emit) }

func (s *sequence[T]) End(_ context.Context, emit flow.Emit[T]) error {
	for len(s.early) > 0 {
		if err := s.skip(emit); err != nil {
			return err
		}
	}
	return nil
}
