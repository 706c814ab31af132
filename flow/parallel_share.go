package flow

import (
	"sync"
	"time"
)

// Idea of sharing: without order, quick messages go to a worker several at a time, since a
// hand-over costs as much as they do. That one of them is slow after all is seen only when it is:
// so the worker takes them one by one from a share, and the feeder, who gave it to him, looks from
// time to time whether he gets on. If not, the feeder takes the rest away and deals it again. So a
// slow message holds up those beside it for a moment, and not for as long as it takes.

// share is the messages of a task that its worker has not begun.
type share[T any] struct {
	mu   sync.Mutex
	rest []Message[T]
	seen int // how many they were when the feeder looked last; the feeder's
}

// shareLook is how often the feeder looks, while there are shares. A worker that has not got on
// between two looks is slow.
const shareLook = 200 * time.Microsecond

// next takes the next message.
func (h *share[T]) next() (m Message[T], ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.rest) == 0 {
		return m, false
	}
	m, h.rest = h.rest[0], h.rest[1:]
	return m, true
}

// takeAll appends all that is left to to. The task's slice is the worker's again, then.
func (h *share[T]) takeAll(to []Message[T]) []Message[T] {
	h.mu.Lock()
	defer h.mu.Unlock()
	to = append(to, h.rest...)
	h.rest = nil
	return to
}

// stuck appends what is left to to, if it has not become less since the last look. over says that nothing is left.
func (h *share[T]) stuck(to []Message[T]) (_ []Message[T], over bool) {
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

// pushShare pushes the messages of a share, one after the other, and returns how many they were.
func pushShare[T any](la *lane, h *share[T], push func(Message[T])) (n int) {
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

// lookAt is when the feeder is to look at the shares; the zero time while there are none.
func (s *shift[T, U]) lookAt() time.Time {
	if len(s.shares) == 0 {
		return time.Time{}
	}
	return s.look
}

// watchShare has the feeder look after a share.
func (s *shift[T, U]) watchShare(h *share[T]) {
	if len(s.shares) == 0 {
		s.look = time.Now().Add(shareLook)
	}
	s.shares = append(s.shares, h)
}

// relieve takes what is left from workers that don't get on, and deals it again, one by one.
func (s *shift[T, U]) relieve(la *lane) {
	s.relieving = true
	defer func() { s.relieving = false }()
	watched, rest := s.shares[:0], s.rest[:0]
	for _, h := range s.shares {
		var over bool
		if rest, over = h.stuck(rest); !over {
			watched = append(watched, h)
		}
	}
	clear(s.shares[len(watched):])
	s.shares, s.look = watched, time.Now().Add(shareLook)
	if len(rest) > 0 {
		s.pace.saw(1, shareLook)
		s.deal(la, rest, 1)
		clear(rest)
	}
	s.rest = rest
}
