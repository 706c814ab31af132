package flow

import (
	"context"
	"errors"
	"slices"
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
		ses.source.run.lanes.leased.Store(true)
		l.OnLeaseLost(ses.lose)
	}
}

// lose marks entries as lost and interrupts the stages that work on them.
//
// Idea: a stage publishes its work before it checks whether that is lost. Here the entry is marked
// lost before the stages are checked. So one of the two sees the other, whichever comes first.
func (ses *session) lose(ids []string) {
	lost := make(map[string]bool, len(ids))
	for _, id := range ids {
		lost[id] = true
	}
	n := 0
	ses.mu.Lock()
	for _, s := range ses.slabs {
		n += s.lose(lost)
	}
	ses.mu.Unlock()
	if s := ses.source; n > 0 {
		s.lost.Add(uint64(n))
		s.run.lanes.lost.Store(true)
		s.run.lanes.interrupt()
	}
}

// lose marks the unsettled leases with these ids as lost, and returns their number.
func (s *slab) lose(ids map[string]bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.records {
		if ids[s.records[i].id] && s.shares(i) > settled {
			s.cells[i].worst.Or(lostBit)
			n++
		}
	}
	return n
}

// isLost reports whether all entries of the lease are lost. Any goroutine may call it.
func (l lease) isLost() bool {
	if l.none() {
		return false
	}
	if one, ok := l.member(); ok {
		return one.isLost()
	}
	if l.slab.members == nil || l.slab.watch != nil && l.cell().lost() { // an entry, or a cancelled watch
		return l.cell().lost()
	}
	some := false
	for _, member := range l.slab.members {
		if !member.none() && !member.isLost() {
			return false
		}
		some = some || !member.none()
	}
	return some
}

// currentWork is what the handler of a stage works on now, or what a sink writes now. It is used to
// interrupt that (see Leaser). Only graphs with a source that can lose leases use it.
//
// Idea: all messages of a stage share one context, which is replaced after it was cancelled. An
// interrupt replaces the lease in progress by a mark, in one atomic step, and only if that lease is
// still in progress. The stage finds the mark when it begins its next work, and renews the context
// first. So a cancelled context never meets another message, and a message costs one exchange of a
// pointer.
type currentWork struct {
	at atomic.Pointer[cell] // the lease in progress, or &interrupted; nil: no work

	mu     sync.Mutex              // guards the fields below; an interrupt holds it throughout
	join   lease                   // the lease in progress if it is a join or watched
	cancel context.CancelCauseFunc // cancels the stage's context; nil: it is the lane's
}

var interrupted cell

// takes makes a message the work in progress. If its lease is lost, takes gives the message back
// and reports false.
func (s *stageBase) takes(l lease) bool {
	s.begin(l)
	if !l.isLost() { // checked only after the lease was published: see session.lose
		return true
	}
	s.la.nack(l)
	return false
}

// begin makes l the work in progress, until the next begin. The zero lease is no work. If the
// previous work was interrupted, begin gives the stage a fresh context.
func (s *stageBase) begin(l lease) {
	w := &s.current
	var c *cell
	var join lease
	if !l.none() {
		if c = l.cell(); l.slab.members != nil || l.slab.watch != nil {
			join = l
		}
	}
	if join != w.join { // only this goroutine sets join and cancel
		w.mu.Lock()
		w.join = join
		w.mu.Unlock()
	}
	if w.at.Swap(c) != &interrupted && w.cancel != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil {
		w.cancel(nil)
	}
	ctx, cancel := context.WithCancelCause(s.la.ctx)
	s.ctx, w.cancel = &stageContext{ctx, s}, cancel
}

// stop ends the work and its context.
func (w *currentWork) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at.Store(nil)
	w.join = lease{}
	if w.cancel != nil {
		w.cancel(nil)
		w.cancel = nil
	}
}

// interrupt cancels the stage's context if the work in progress is lost.
func (w *currentWork) interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.at.Load()
	if at == nil || w.cancel == nil {
		return
	}
	lost, cause := at.lost(), ErrLeaseLost
	if !w.join.none() && w.join.cell() == at {
		lost = w.join.isLost()
		if why := w.join.cancelled(); why != nil {
			cause = why
		}
	}
	if lost && w.at.CompareAndSwap(at, &interrupted) {
		w.cancel(cause)
	}
}

// lanes is the set of live lanes of a run.
type lanes struct {
	mu    sync.Mutex
	alive map[*lane]struct{}
	keys  map[*lane]struct{} // lives of sub-pipelines, see Nest

	leased atomic.Bool // a source can lose leases
	lost   atomic.Bool // a source has lost some
}

func (ls *lanes) add(la *lane) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	set := &ls.alive
	if la.nest != nil {
		set = &ls.keys
	}
	if *set == nil {
		*set = make(map[*lane]struct{})
	}
	(*set)[la] = struct{}{}
}

func (ls *lanes) remove(la *lane) {
	ls.mu.Lock()
	delete(ls.alive, la)
	delete(ls.keys, la)
	for _, s := range la.stages {
		s.st.busy.Add(int64(s.busy))
	}
	ls.mu.Unlock()
	for _, s := range la.stages {
		s.current.stop()
	}
}

// interrupt interrupts the work that is lost.
func (ls *lanes) interrupt() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, set := range []map[*lane]struct{}{ls.alive, ls.keys} {
		for la := range set {
			for _, s := range la.stages {
				s.current.interrupt()
			}
		}
	}
}

// sweep gives back what the lanes have not begun.
func (ls *lanes) sweep(dirty *dirtySessions) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for la := range ls.alive {
		for _, h := range la.hooks {
			if h.sweep != nil {
				h.sweep(dirty)
			}
		}
	}
}

// worksOn returns the sorted names of the stages that work on messages of a watched one.
func (ls *lanes) worksOn(of *slab) (names []string) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, set := range []map[*lane]struct{}{ls.alive, ls.keys} {
		for la := range set {
			for _, s := range la.stages { // downstream first: those before it wait for it
				if s.current.on(of) {
					names = append(names, s.st.name)
					break
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// on reports whether the work in progress is on a message of a watched one.
func (w *currentWork) on(of *slab) bool {
	at := w.at.Load()
	if at == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.join.none() && w.join.cell() == at && w.join.includes(of)
}

// includes reports whether the lease is, or stands for, a share of a watched message.
func (l lease) includes(of *slab) bool {
	if l.none() {
		return false
	}
	if one, ok := l.member(); ok {
		return one.includes(of)
	}
	return l.slab == of || slices.ContainsFunc(l.slab.members, func(m lease) bool { return m.includes(of) })
}
