package operators

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// MergeSorted merges sorted sources into a sorted one. compare returns a negative number if a comes
// before b, as cmp.Compare does. Equal values come in the order of their inputs. The smallest value
// passes when all inputs have one to compare. An input that is silent for idle does not hold up the
// others; what it sends later passes as soon as it is the smallest of the waiting values. With idle
// zero or negative, the others wait until it sends or ends. Use an idle time if the inputs come from
// one source, because it stops reading when the others wait. A panic of compare is a fault of the
// message that has arrived.
//
//	a    --1-----4--7--|
//	b    --2--3-----8--|
//	out  --1--2-3-4-7-8|
//
// Order: sorted. Acks: carried by the output.
// Holds: one message of each input, besides two chunks waiting on each. Ends: when all inputs have ended.
func MergeSorted[T any](
	ins []flow.Source[T], compare func(a, b T) int, idle time.Duration, opts ...flow.StageOption,
) flow.Source[T] {
	n := len(ins)
	return flow.Gather("merge-sorted", slices.Clone(ins), func() flow.GatherHandler[T, T] {
		return &sorted[T]{compare: compare, idle: idle, state: make([]portState, n), picks: make([]int, 0, n)}
	}, with(opts, function("compare", compare != nil), flow.Traits{Holds: n, HoldsFor: max(idle, 0)})...)
}

// portState is the state of an input of a sorted merge.
type portState uint8

const (
	awaited portState = iota // the others wait for its next message
	waiting                  // its message waits
	silent                   // it has sent nothing for the idle time
	gone                     // it has ended
)

// sorted keeps the next message of each input, in order.
type sorted[T any] struct {
	compare func(a, b T) int
	idle    time.Duration
	state   []portState
	heads   []head[T] // sorted
	due     time.Time // when the awaited inputs become silent; zero: never
	picks   []int
}

// head is the next message of an input.
type head[T any] struct {
	port int
	held flow.Held[T]
}

func (s *sorted[T]) Handle(ctx context.Context, port int, m flow.Message[T], emit flow.Emit[T]) error {
	at, err := s.place(port, m.Value)
	if err != nil {
		return fmt.Errorf("operators: merge-sorted: compare: %w", err)
	}
	s.heads = slices.Insert(s.heads, at, head[T]{port, flow.Hold(ctx, m)})
	s.state[port] = waiting
	s.release(emit)
	return nil
}

// place returns the position of a value among the heads. Only here the user's function is called, so
// its panic concerns the value that has arrived.
func (s *sorted[T]) place(port int, v T) (at int, err error) {
	defer flow.Catch(&err)
	for at = range s.heads {
		h := &s.heads[at]
		if c := s.compare(v, h.held.Value); c < 0 || c == 0 && port < h.port {
			return at, nil
		}
	}
	return len(s.heads), nil
}

// release passes on the smallest messages, until an input is awaited.
func (s *sorted[T]) release(emit flow.Emit[T]) {
	for len(s.heads) > 0 && !slices.Contains(s.state, awaited) {
		first := s.heads[0]
		emit(first.held.Message)
		first.held.Done()
		s.heads = slices.Delete(s.heads, 0, 1)
		if s.state[first.port] == waiting {
			s.state[first.port] = awaited
		}
	}
	s.due = time.Time{}
	if s.idle > 0 && len(s.heads) > 0 {
		s.due = time.Now().Add(s.idle)
	}
}

// Pick reads the inputs that have no message waiting.
func (s *sorted[T]) Pick([]bool) []int {
	s.picks = s.picks[:0]
	for port, state := range s.state {
		if state == awaited || state == silent {
			s.picks = append(s.picks, port)
		}
	}
	return s.picks
}

func (s *sorted[T]) PortEnd(_ context.Context, port int, emit flow.Emit[T]) error {
	s.state[port] = gone
	s.release(emit)
	return nil
}

func (s *sorted[T]) Next() time.Time { return s.due }

// Ring stops waiting for the silent inputs.
func (s *sorted[T]) Ring(_ context.Context, emit flow.Emit[T]) error {
	for port, state := range s.state {
		if state == awaited {
			s.state[port] = silent
		}
	}
	s.release(emit)
	return nil
}
