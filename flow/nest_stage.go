package flow

import (
	"errors"
	"sync"
	"time"
)

// nestStage runs the sub-pipelines of all keys.
type nestStage[T any, K comparable] struct {
	stageBase
	key  func(T) K
	most int
	idle time.Duration
	head chain[T]
	exit func(*lane) any

	keys    map[K]*nested[T, K]
	order   nested[T, K] // a ring: next is the key that was used least recently
	due     nestAlarms[T, K]
	ringing []*nested[T, K] // reused
	unflush []*nested[T, K] // keys that may have buffered messages
	one     [1]Message[T]

	strayMu sync.Mutex // guards strays, which any goroutine may add to
	strays  []*nested[T, K]
}

var errNoKey = errors.New("flow: the key is not equal to itself")

func (s *nestStage[T, K]) start(la *lane, st *stageRun) {
	s.order.next, s.order.prev = &s.order, &s.order
	s.renew = func() {}
	s.init(la, st)
	la.hooks = append(la.hooks, hook{flush: s.flush, end: s.end, drop: s.drop, settle: s.settle})
	la.alarms = append(la.alarms, alarm{next: s.nextAlarm, ring: s.ring})
}

func (s *nestStage[T, K]) push(ms []Message[T]) {
	now := time.Now()
	each(&s.stageBase, ms, func(m Message[T]) {
		s.in++
		s.works()
		for tries := 1; ; tries++ {
			k, err := s.keyOf(m.Value)
			if err == nil {
				s.handle(k, m, now)
				return
			}
			if !s.retry(m.lease, m.meta, err, tries) {
				return
			}
		}
	})
}

func (s *nestStage[T, K]) keyOf(v T) (k K, err error) {
	defer Catch(&err)
	if k = s.key(v); k != k {
		err = errNoKey
	}
	return k, err
}

func (s *nestStage[T, K]) handle(k K, m Message[T], now time.Time) {
	g := s.keys[k]
	if g == nil {
		for len(s.keys) >= s.most && !s.la.aborted {
			s.retire(s.order.next)
		}
		if !s.la.aborted {
			g = s.open(k)
		}
		if g == nil {
			s.la.nack(m.lease)
			return
		}
	}
	g.unlink()
	s.link(g)
	g.used = now
	s.out++
	s.enter(g)
	s.one[0] = m
	g.push(s.one[:])
	s.one[0] = Message[T]{}
	s.leave(g)
}

// enter is called before something of a key runs, and leave after it.
func (s *nestStage[T, K]) enter(g *nested[T, K]) {
	if !g.buffers {
		g.buffers = true
		s.unflush = append(s.unflush, g)
	}
}

func (s *nestStage[T, K]) leave(g *nested[T, K]) {
	s.takeOver(g)
	var first time.Time
	if !g.over {
		first = g.la.nextAlarm()
	}
	s.due.move(g, first)
}

// takeOver aborts the lane if that of the key is aborted.
func (s *nestStage[T, K]) takeOver(g *nested[T, K]) {
	s.la.aborted = s.la.aborted || g.la.aborted
	if g.la.failure != nil {
		s.la.fail(g.la.failure)
	}
}

// open begins the sub-pipeline of a key. It returns nil if a stage of it fails to begin.
func (s *nestStage[T, K]) open(k K) *nested[T, K] {
	g := &nested[T, K]{key: k, at: -1}
	g.la = &lane{run: s.la.run, ctx: s.la.ctx, meter: s.la.meter, turns: turns{wake: s.la.wake}}
	g.la.nest = &nesting{outer: s.la, exit: s.exit(g.la), strayed: func() { s.stray(g) }}
	if err := g.begin(s.head); err != nil {
		s.la.fail(err)
		g.discard()
		return nil
	}
	s.keys[k] = g
	s.link(g)
	return g
}

// retire ends the sub-pipeline of a key. If the lane is aborted meanwhile, drop does the rest.
func (s *nestStage[T, K]) retire(g *nested[T, K]) {
	s.enter(g)
	for i := len(g.la.hooks) - 1; i >= 0 && !g.la.aborted; i-- {
		if f := g.la.hooks[i].end; f != nil {
			if err := f(); err != nil {
				g.la.fail(err)
			}
		}
	}
	if s.takeOver(g); s.la.aborted {
		return
	}
	s.due.move(g, time.Time{})
	g.close()
	g.unlink()
	delete(s.keys, g.key)
}

// flush passes on what the keys have buffered. A stage behind may wait meanwhile and flush the rest.
func (s *nestStage[T, K]) flush(block bool) {
	for len(s.unflush) > 0 {
		last := len(s.unflush) - 1
		g := s.unflush[last]
		s.unflush[last] = nil
		s.unflush = s.unflush[:last]
		g.buffers = false
		g.la.flushHooks(block)
		s.takeOver(g)
	}
	s.count()
}

// stray is called when a hold of a key was ended. Any goroutine may call it.
func (s *nestStage[T, K]) stray(g *nested[T, K]) {
	if g.stray.Swap(true) {
		return
	}
	s.strayMu.Lock()
	defer s.strayMu.Unlock()
	s.strays = append(s.strays, g)
}

func (s *nestStage[T, K]) settle() {
	s.strayMu.Lock()
	strays := s.strays
	s.strays = nil
	s.strayMu.Unlock()
	for _, g := range strays {
		g.stray.Store(false)
		s.enter(g)
		g.la.settleStrays()
		s.takeOver(g)
	}
}

// end ends all keys, from the one that was used least recently.
func (s *nestStage[T, K]) end() error {
	for s.order.next != &s.order && !s.la.aborted {
		s.retire(s.order.next)
	}
	s.count()
	return s.la.failure
}

func (s *nestStage[T, K]) drop() {
	for g := s.order.next; g != &s.order; g = g.next {
		g.discard()
	}
	s.count()
}

// nextAlarm returns when an alarm of a key is due, or a key ends because it is idle.
func (s *nestStage[T, K]) nextAlarm() time.Time {
	if len(s.keys) == 0 {
		return time.Time{}
	}
	first := s.order.next.used.Add(s.idle)
	if len(s.due) > 0 && s.due[0].alarm.Before(first) {
		first = s.due[0].alarm
	}
	return first
}

// ring rings each key that is due once, even if its alarm stays due, and ends idle keys.
func (s *nestStage[T, K]) ring() error {
	now := time.Now()
	for len(s.due) > 0 && !s.due[0].alarm.After(now) {
		g := s.due[0]
		s.due.move(g, time.Time{})
		s.ringing = append(s.ringing, g)
	}
	for _, g := range s.ringing {
		if s.la.aborted {
			break
		}
		s.enter(g)
		if err := g.la.ring(); err != nil {
			return err
		}
		s.leave(g)
	}
	clear(s.ringing)
	s.ringing = s.ringing[:0]
	for g := s.order.next; g != &s.order && !g.used.Add(s.idle).After(now) && !s.la.aborted; g = s.order.next {
		s.retire(g)
	}
	return nil
}

func (s *nestStage[T, K]) link(g *nested[T, K]) {
	g.next, g.prev = &s.order, s.order.prev
	g.prev.next, s.order.prev = g, g
}
