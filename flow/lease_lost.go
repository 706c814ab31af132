package flow

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// ErrLeaseLost is the cause of a handler's context when the source has lost the lease of the
// current entry: another reader now owns the entry and will handle it.
var ErrLeaseLost = errors.New("flow: lease lost, another reader has the entry now")

// Leaser is a Reader that can lose the leases of its entries, for example if the process was
// suspended for longer than a lease lasts. OnLeaseLost is called once, before Open. Its argument is
// the function that reports lost entries by their Meta.ID.
//
// If a handler is working on a lost entry, its context is cancelled with ErrLeaseLost as the cause.
// If the entry has not been handled yet, it will not be. A lost entry settles like any other
// (Nacked if it was not finished), with Lost set. The Reader must then leave the entry to its new
// owner. A message made of several entries (Join), or a chunk that a sink is writing, is lost when
// all its entries are lost.
type Leaser interface {
	OnLeaseLost(lost func(ids []string))
}

// lease gives the reader a function to report lost leases with, if it is a Leaser.
func (ses *session) lease(reader any) {
	if l, ok := reader.(Leaser); ok {
		ses.source.run.leased.Store(true)
		l.OnLeaseLost(ses.lose)
	}
}

// lose marks entries as lost and interrupts the lanes that work on them.
//
// Idea: a lane publishes its work before it checks whether that is lost. Here the entry is marked
// lost before the lanes are checked. So one of the two sees the other, whichever comes first.
func (ses *session) lose(ids []string) {
	lost := make(map[string]bool, len(ids))
	for _, id := range ids {
		lost[id] = true
	}
	cells := make(map[*cell]bool)
	ses.mu.Lock()
	for _, s := range ses.slabs {
		s.lose(lost, cells)
	}
	ses.mu.Unlock()
	s := ses.source
	if len(cells) == 0 {
		return
	}
	s.lost.Add(uint64(len(cells)))
	s.run.lanes.interrupt(cells)
}

// lose marks the unsettled leases with these ids as lost and adds them to cells.
func (s *slab) lose(ids map[string]bool, cells map[*cell]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.metas {
		if c := &s.cells[i]; ids[s.metas[i].ID] && c.more.Load() > settled {
			l := lease{slab: s, at: int32(i)}
			n := s.notes[l.at]
			if !n.lost {
				n.lost = true
				s.setNote(l, n)
				s.lost.Store(true)
			}
			cells[c] = true
		}
	}
}

// isLost reports whether all entries of the lease are lost. The caller owns a share of it, unless
// it is an entry's lease.
func (l lease) isLost() bool {
	if l.none() {
		return false
	}
	s := l.slab
	if one, ok := l.member(); ok {
		return one.isLost()
	}
	if s.members != nil {
		return allLost(s.members)
	}
	if !s.lost.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.notes[l.at].lost
}

func allLost(leases []lease) bool {
	some := false
	for _, l := range leases {
		if l.none() {
			continue
		}
		if !l.isLost() {
			return false
		}
		some = true
	}
	return some
}

// appendEntries appends the leases of the entries that l stands for. The caller owns a share of l.
func (l lease) appendEntries(to []lease) []lease {
	one, isOne := l.member()
	switch {
	case l.none():
	case isOne:
		to = one.appendEntries(to)
	case l.slab.members == nil:
		to = append(to, l)
	default:
		for _, member := range l.slab.members {
			to = member.appendEntries(to)
		}
	}
	return to
}

// currentWork is the work in progress of a lane. It is used to interrupt that work (see Leaser).
// Only graphs with a source that can lose leases use it.
//
// Idea: all messages share one handler context, which is replaced after it was cancelled. An
// interrupt replaces the lease in progress by a mark, in one atomic step, and only if that lease is
// still in progress. The lane finds the mark when it puts down its work, and renews the context
// before it continues. So a cancelled context never meets another message, and a message costs one
// exchange of a pointer.
type currentWork struct {
	at     atomic.Pointer[cell]    // the message's lease, &several or &interrupted; nil: no work
	mu     sync.Mutex              // guards the fields below; an interrupt holds it throughout
	leases []lease                 // the entries' leases while at is &several
	cancel context.CancelCauseFunc // cancels the handlers' context
	outer  outerWork               // the outer work while a sink writes
}

// Placeholders for leases in currentWork.at.
var several, interrupted cell

// take makes a message the work in progress. It reports false if its lease is lost: then the
// message must not be handled. It remains the work in progress until the next take or put.
func (la *lane) take(l lease) bool {
	if !l.none() && l.slab.members != nil {
		la.takeAll(l)
	} else {
		var c *cell
		if !l.none() {
			c = l.cell()
		}
		la.renewAfter(la.current.at.Swap(c))
	}
	return !l.isLost() // checked only after the lease was published: see session.lose
}

// takeAll makes several messages the work in progress. They count as lost when all their entries
// are lost.
func (la *lane) takeAll(leases ...lease) {
	h := &la.current
	h.mu.Lock()
	h.leases = h.leases[:0]
	for _, l := range leases {
		h.leases = l.appendEntries(h.leases)
	}
	was := h.at.Swap(&several)
	h.mu.Unlock()
	la.renewAfter(was)
}

// outerWork is the work below a sink's chunk: the message in progress when the sink began to write,
// and its context. The message's handler may be waiting for the write.
type outerWork struct {
	at     *cell
	leases []lease
	cancel context.CancelCauseFunc
	ctx    []context.Context // contexts of the lane's stages
}

// takeOver makes a sink's chunk the work in progress, with a context of its own, until putBack.
func (la *lane) takeOver(leases []lease) {
	h := &la.current
	for _, s := range la.stages {
		h.outer.ctx = append(h.outer.ctx, s.ctx)
	}
	h.mu.Lock()
	h.outer.at, h.outer.cancel = h.at.Swap(nil), h.cancel
	h.outer.leases, h.leases = h.leases, h.outer.leases
	h.cancel = nil
	h.mu.Unlock()
	la.takeAll(leases...)
}

// putBack ends the work begun by takeOver and restores the outer work. If that was interrupted
// meanwhile, it stays interrupted.
func (la *lane) putBack() {
	h := &la.current
	h.mu.Lock()
	cancel := h.cancel
	h.leases, h.outer.leases = h.outer.leases, h.leases[:0]
	h.cancel = h.outer.cancel
	h.at.Store(h.outer.at)
	h.outer.at, h.outer.cancel = nil, nil
	h.mu.Unlock()
	cancel(nil)
	for i, s := range la.stages {
		s.ctx = h.outer.ctx[i]
	}
	clear(h.outer.ctx)
	h.outer.ctx = h.outer.ctx[:0]
}

// put ends the work in progress.
func (la *lane) put() {
	h := &la.current
	was := h.at.Load()
	if was == &several || was == &interrupted {
		h.mu.Lock()
		was = h.at.Swap(nil)
		clear(h.leases)
		h.leases = h.leases[:0]
		h.mu.Unlock()
	} else {
		was = h.at.Swap(nil)
	}
	la.renewAfter(was)
}

// renewAfter gives the stages of the lane a fresh context if the previous work was interrupted.
func (la *lane) renewAfter(was *cell) {
	h := &la.current
	if was != &interrupted && h.cancel != nil { // only this goroutine sets cancel
		return
	}
	ctx, cancel := context.WithCancelCause(la.ctx)
	h.mu.Lock()
	old := h.cancel
	h.cancel = cancel
	h.mu.Unlock()
	if old != nil {
		old(nil)
	}
	for _, s := range la.stages {
		s.ctx = &stageContext{ctx, s}
	}
}

// interrupt cancels the handlers' context if the work in progress is lost: its lease is in cells,
// or all of its several leases are lost.
func (la *lane) interrupt(cells map[*cell]bool) {
	h := &la.current
	h.mu.Lock()
	defer h.mu.Unlock()
	if u := &h.outer; u.cancel != nil && isAmong(cells, u.at, u.leases) {
		u.at = &interrupted
		u.cancel(ErrLeaseLost)
	}
	at := h.at.Load()
	if h.cancel != nil && isAmong(cells, at, h.leases) && h.at.CompareAndSwap(at, &interrupted) {
		h.cancel(ErrLeaseLost)
	}
}

// isAmong reports whether the given work is lost, now that cells are lost.
func isAmong(cells map[*cell]bool, at *cell, leases []lease) bool {
	return cells[at] || at == &several && allLost(leases)
}

// lanes is the set of live lanes of a run.
type lanes struct {
	mu    sync.Mutex
	alive map[*lane]struct{}
}

func (ls *lanes) add(la *lane) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.alive == nil {
		ls.alive = make(map[*lane]struct{})
	}
	ls.alive[la] = struct{}{}
}

func (ls *lanes) remove(la *lane) {
	ls.mu.Lock()
	delete(ls.alive, la)
	for _, s := range la.stages {
		s.st.busy.Add(int64(s.busy))
	}
	ls.mu.Unlock()
	if cancel := la.current.cancel; cancel != nil {
		cancel(nil)
	}
}

// interrupt interrupts the lanes that work on one of cells.
func (ls *lanes) interrupt(cells map[*cell]bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for la := range ls.alive {
		la.interrupt(cells)
	}
}
