package flow

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// keyOf calls the key function. If it panics, the message fails and is not retried.
func keyOf[T any](la *lane, st *stageRun, key keyer[T], m Message[T]) (h uint64, ok bool) {
	err := guard(la.ctx, func(context.Context) error { h = key(m.Value); return nil })
	if err == nil {
		return h, true
	}
	failOutright(la, st, m, err)
	return 0, false
}

// next returns the task that waits behind a finished one of its key; nil if there is none.
func (s *poolRun[T, U]) next(key uint64) *task[T, U] {
	s.mu.Lock()
	defer s.mu.Unlock()
	queue := s.lanes[key]
	if len(queue) == 0 {
		delete(s.lanes, key)
		return nil
	}
	s.lanes[key] = queue[1:]
	return queue[0]
}

// park is the parker. It keeps the tasks that wait for their retry, and gives them to the workers
// when they are due. It accepts tasks at any time, so that no worker waits for it.
func (s *poolRun[T, U]) park() error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var work chan *task[T, U]
		var first *task[T, U]
		next := time.Hour
		if len(s.parked) > 0 {
			first = s.parked[0]
			if next = time.Until(first.due); next <= 0 {
				work, next = s.work, time.Hour
			}
		}
		timer.Reset(next)
		select {
		case work <- first:
			heap.Pop(&s.parked)
		case t := <-s.later:
			s.mu.Lock()
			s.loosen(t)
			s.mu.Unlock()
			heap.Push(&s.parked, t)
		case <-s.quit:
			return nil
		case <-timer.C:
		case <-s.ctx.Done():
			return nil
		}
	}
}

// dueFirst is a heap of parked tasks, ordered by due time.
type dueFirst[T, U any] []*task[T, U]

func (d dueFirst[T, U]) Len() int { return len(d) }

func (d dueFirst[T, U]) Less(i, j int) bool { return d[i].due.Before(d[j].due) }

func (d dueFirst[T, U]) Swap(i, j int) { d[i], d[j] = d[j], d[i] }

func (d *dueFirst[T, U]) Push(t any) { *d = append(*d, t.(*task[T, U])) }

func (d *dueFirst[T, U]) Pop() any {
	last := len(*d) - 1
	t := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return t
}

// leftovers gives back the messages of a life that ended early, after all its parts have ended.
func (s *poolRun[T, U]) leftovers() {
	la := s.lane()
	if s.waiting != nil {
		s.giveBack(la, s.waiting)
	}
	for t := range s.done {
		s.giveBack(la, t)
	}
	for t := range s.work {
		s.giveBack(la, t)
	}
	close(s.later) // no sender is left
	for t := range s.later {
		s.giveBack(la, t)
	}
	for _, t := range s.parked {
		s.giveBack(la, t)
	}
	for _, queue := range s.lanes {
		for _, t := range queue {
			s.giveBack(la, t)
		}
	}
	la.dirty.tell()
}

func (s *poolRun[T, U]) giveBack(la *lane, t *task[T, U]) {
	if t.stealable != nil {
		t.in, t.stealable = t.stealable.takeAll(nil), nil
	}
	giveBackTo(&la.dirty, t.in, s.in.raw && t.tried == 0)
	giveBackTo(&la.dirty, t.out, false)
	t.in, t.out = nil, nil
}

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
