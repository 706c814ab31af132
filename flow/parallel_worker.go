package flow

import (
	"sync"
	"time"
)

// sweep gives back, once the graph drains, messages that wait for a worker or for their key. Their
// tasks continue empty, to free their slots and keep their turns.
func (s *poolRun[T, U]) sweep(la *lane) {
	if la.drain == nil || s.b.run.reading.Err() == nil {
		return
	}
	la.drain = nil
	s.giving = true
	empty := func(t *task[T, U]) {
		if t.tried == 0 && t.stealable == nil {
			giveBackTo(&la.dirty, t.in, true)
			t.in = nil
		}
	}
	s.mu.Lock()
	for _, queue := range s.lanes {
		for _, t := range queue {
			empty(t)
		}
	}
	s.mu.Unlock()
	var back []*task[T, U]
	for range len(s.work) {
		select {
		case t := <-s.work:
			if t.stealable != nil {
				t.in, t.stealable = t.stealable.takeAll(nil), nil
			}
			empty(t)
			back = append(back, t)
		default:
		}
	}
	la.dirty.tell()
	for _, t := range back {
		select {
		case s.work <- t:
		case <-la.ctx.Done():
			la.aborted = true
			s.giveBack(la, t)
		}
	}
}

// grain returns how many messages of a chunk make a task.
func (s *poolRun[T, U]) grain(chunk int) int {
	switch s.mode {
	case keyed:
		return 1
	case unordered: // stalled work is dealt again to other workers
		return s.pace.grain()
	default: // spread a short chunk over all workers
		return max(1, min(s.pace.grain(), chunk/s.n.workers))
	}
}

// deal cuts a chunk into tasks of up to grain messages and hands them out.
func (s *poolRun[T, U]) deal(la *lane, chunk []Message[T], grain int) {
	for len(chunk) > 0 {
		if s.giving || s.mode == keyed && !s.fewerLoose(la, s.most) || !s.taken(la) {
			giveBack(la, chunk)
			return
		}
		if s.giving {
			<-s.slots
			continue
		}
		n := min(grain, len(chunk))
		t := s.fresh()
		t.in = append(t.in[:0], chunk[:n]...)
		chunk = chunk[n:]
		if n > 1 && s.mode == unordered {
			t.stealable = &stealable[T]{rest: t.in}
			s.watchStealable(t.stealable)
		}
		s.start(la, t)
	}
}

func (s *poolRun[T, U]) fresh() *task[T, U] {
	select {
	case t := <-s.free:
		return t
	default:
		return &task[T, U]{done: make(chan struct{}, 1)}
	}
}

// start hands a task to the workers, or queues it behind its key.
func (s *poolRun[T, U]) start(la *lane, t *task[T, U]) {
	switch s.mode {
	case ordered:
		if !s.send(la, t) {
			return
		}
	case keyed:
		key, ok := keyOf(la, s.st, s.key, t.in[0])
		if !ok {
			<-s.slots
			return
		}
		t.key = key
		s.mu.Lock()
		queue, busy := s.lanes[key]
		if busy {
			s.loosen(t)
			queue = append(queue, t)
		}
		s.lanes[key] = queue
		s.mu.Unlock()
		if busy {
			return
		}
	}
	select {
	case s.work <- t:
	case <-la.ctx.Done():
		la.aborted = true
		s.giveBack(la, t)
	}
}

// worker is one worker: a lane whose chain ends in its current task.
func (s *poolRun[T, U]) worker() error {
	la := s.lane()
	var cur *task[T, U]
	parked := false
	// Downstream of the handler is the current task. This hook is downstream of the handler's own.
	la.hooks = append(la.hooks, hook{
		end: func() error {
			s.sendExtra(la, cur)
			cur = nil
			return nil
		},
		drop: func() {
			if cur != nil {
				s.giveBack(la, cur)
			}
		},
	})
	la.raw = s.in.raw
	push := s.open(la, func(m Message[U]) {
		if cur == nil {
			cur = &task[T, U]{extra: true}
		}
		cur.out = append(cur.out, m)
	})
	if s.mode == keyed {
		la.park = func(after time.Duration, tried int) {
			cur.tried, cur.due = tried, time.Now().Add(after)
			parked = true
		}
	}
	return la.live(func() error {
		for {
			if err := la.ring(); err != nil {
				return err
			}
			s.sendExtra(la, cur)
			cur = nil
			t, ok, again := receive(la, s.work)
			if again {
				continue
			}
			if !ok {
				return nil
			}
			for cur = t; cur != nil; {
				in, started := t.in, time.Now()
				t.in, la.tried = nil, t.tried
				if t.tried > 0 {
					s.st.in.Add(^uint64(0)) // it will be counted again
				}
				done := len(in)
				if t.stealable != nil {
					done = pushStealable(la, t.stealable, push)
				} else {
					pushAll(la, in, push)
				}
				s.pace.saw(done, time.Since(started))
				la.dirty.tell()
				if parked {
					parked, cur, t.in = false, nil, in
					select {
					case s.later <- t:
					case <-la.ctx.Done():
						la.aborted = true
						s.giveBack(la, t)
						return nil
					}
					break
				}
				if la.aborted {
					return nil
				}
				clear(in)
				t.used, t.stealable = in[:0], nil
				cur = nil
				key := t.key // from here on the collector owns the task
				if s.mode == ordered {
					t.done <- struct{}{}
				} else if !s.send(la, t) {
					return nil
				}
				if s.mode == keyed {
					t = s.next(key)
					cur = t
				}
			}
		}
	})
}

// sendExtra hands the collector the output that a handler emitted without a current message.
func (s *poolRun[T, U]) sendExtra(la *lane, t *task[T, U]) {
	if t == nil {
		return
	}
	t.done = make(chan struct{}, 1)
	t.done <- struct{}{}
	s.send(la, t)
}

// send hands a task to the collector. There is room for all tasks with a slot, but possibly not for
// extra ones. It reports false if the life ended first; then the task was given back.
func (s *poolRun[T, U]) send(la *lane, t *task[T, U]) bool {
	select {
	case s.done <- t:
		return true
	case <-la.ctx.Done():
		la.aborted = true
		s.giveBack(la, t)
		return false
	}
}

// pace is the average time per message, measured by the workers. The feeder derives the size of
// tasks from it.
type pace struct {
	mu  sync.Mutex
	per time.Duration
}

func (p *pace) saw(n int, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.per = (p.per*7 + d/time.Duration(max(n, 1))) / 8
}

// taskTime is the work that a task should hold: enough to make its handovers cheap.
const taskTime = 50 * time.Microsecond

// grain returns how many messages make a task.
func (p *pace) grain() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.per <= 0 {
		return 1
	}
	return max(1, min(64, int(taskTime/p.per)))
}

// collect is the collector. It pushes the output of finished tasks down the chain.
func (s *poolRun[T, U]) collect() error {
	la := s.lane()
	push := s.to.open(la)
	return la.live(func() error {
		close(s.opened)
		for {
			t, err := s.finished(la)
			if t == nil {
				return err
			}
			out := t.out
			t.out = nil
			pushAll(la, out, push)
			la.dirty.tell()
			if t.extra {
				continue
			}
			loose := t.loose
			clear(out)
			*t = task[T, U]{in: t.used, out: out[:0], done: t.done}
			select {
			case s.free <- t:
			default:
			}
			s.through(loose)
		}
	})
}

// finished returns the next finished task. It returns nil at the end or with an error.
func (s *poolRun[T, U]) finished(la *lane) (*task[T, U], error) {
	for !la.aborted {
		if err := la.ring(); err != nil {
			return nil, err
		}
		if s.waiting == nil {
			t, ok, again := receive(la, s.done)
			switch {
			case again:
				continue
			case !ok:
				return nil, nil
			case s.mode != ordered:
				return t, nil
			}
			s.waiting = t
		}
		if _, ok, again := receive(la, s.waiting.done); ok && !again {
			t := s.waiting
			s.waiting = nil
			return t, nil
		}
	}
	return nil, nil
}
