package flow

import (
	"sync"
	"time"
)

// Idea of stealing: without an order, a worker gets several quick messages at a time, because a
// handover costs as much as they do. Whether one of them is slow shows only while it is handled. So
// the worker takes them one by one from a stealable, and the feeder periodically checks its
// progress. If the worker has stalled, the feeder takes the remaining messages away and deals them
// again. So a slow message delays its neighbours for a moment only, and not for its whole duration.

// stealable is the part of a task's messages that its worker has not begun.
type stealable[T any] struct {
	mu   sync.Mutex
	rest []Message[T]
	seen int // length of rest at the feeder's last check; owned by the feeder
}

// stealCheck is how often the feeder checks while there are stealables. A worker without progress
// between two checks is slow.
const stealCheck = 200 * time.Microsecond

// next takes the next message.
func (h *stealable[T]) next() (m Message[T], ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.rest) == 0 {
		return m, false
	}
	m, h.rest = h.rest[0], h.rest[1:]
	return m, true
}

// takeAll appends the remaining messages to to. After that, the task's slice belongs to the worker
// again.
func (h *stealable[T]) takeAll(to []Message[T]) []Message[T] {
	h.mu.Lock()
	defer h.mu.Unlock()
	to = append(to, h.rest...)
	h.rest = nil
	return to
}

// stuck appends the remaining messages to to if their number is the same as at the last check. over
// reports that none are left.
func (h *stealable[T]) stuck(to []Message[T]) (_ []Message[T], over bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.rest)
	if n > 0 && n == h.seen {
		to = append(to, h.rest...)
		h.rest, n = nil, 0
	}
	h.seen = n
	return to, n == 0
}

// pushStealable pushes the messages of a stealable one by one, and returns their number.
func pushStealable[T any](la *lane, h *stealable[T], push func(Message[T])) (n int) {
	la.beginChunk()
	leased := la.run.leased.Load()
	if leased {
		defer la.put()
	}
	for ; !la.aborted; n++ {
		m, ok := h.next()
		if !ok {
			break
		}
		pushOne(la, m, leased, push)
	}
	return n
}

// lookAt returns when the feeder must check the stealables; the zero time if there are none.
func (s *poolRun[T, U]) lookAt() time.Time {
	if len(s.stealables) == 0 {
		return time.Time{}
	}
	return s.look
}

// watchStealable adds a stealable to those that the feeder checks.
func (s *poolRun[T, U]) watchStealable(h *stealable[T]) {
	if len(s.stealables) == 0 {
		s.look = time.Now().Add(stealCheck)
	}
	s.stealables = append(s.stealables, h)
}

// relieve takes the remaining messages from stalled workers and deals them again, one by one.
func (s *poolRun[T, U]) relieve(la *lane) {
	s.relieving = true
	defer func() { s.relieving = false }()
	watched, rest := s.stealables[:0], s.rest[:0]
	for _, h := range s.stealables {
		var over bool
		if rest, over = h.stuck(rest); !over {
			watched = append(watched, h)
		}
	}
	clear(s.stealables[len(watched):])
	s.stealables, s.look = watched, time.Now().Add(stealCheck)
	if len(rest) > 0 {
		s.pace.saw(1, stealCheck)
		s.deal(la, rest, 1)
		clear(rest)
	}
	s.rest = rest
}
