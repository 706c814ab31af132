package flow

import (
	"context"
	"sync"
	"sync/atomic"
)

// inHand is what a lane is at, for those who have to interrupt it (see Leaser). Only graphs with a source that can lose
// leases use it.
//
// Idea: the handlers' context is one for all messages, and is replaced when it has been cancelled.
// To interrupt is to replace what is in hand by a mark, in one step, and only if it is still in
// hand; the lane finds the mark when it puts down what it had, and renews the context before it
// goes on. So a cancelled context never meets another message, and a message costs an exchange of a
// pointer.
type inHand struct {
	at     atomic.Pointer[cell]    // the lease of the message, &several, or &interrupted; nil: nothing
	mu     sync.Mutex              // guards what follows; whoever interrupts has it all the while
	leases []lease                 // of entries, while at is &several
	cancel context.CancelCauseFunc // of the handlers' context
	under  lay                     // while a sink writes
}

// Stand-ins for leases in inHand.at.
var several, interrupted cell

// take puts a message in hand. It reports false, and what was in hand stays there, if its lease is
// lost: then it is not to be handled any more.
func (la *lane) take(l lease) bool {
	if !l.none() && l.slab.members != nil {
		la.takeAll(l)
	} else {
		var c *cell
		if !l.none() {
			c = l.cell()
		}
		la.renewAfter(la.hand.at.Swap(c))
	}
	return !l.isLost() // looked at only now: see session.lose
}

// takeAll puts several messages in hand, which count as lost when all their entries are.
func (la *lane) takeAll(leases ...lease) {
	h := &la.hand
	h.mu.Lock()
	h.leases = h.leases[:0]
	for _, l := range leases {
		h.leases = l.appendEntries(h.leases)
	}
	was := h.at.Swap(&several)
	h.mu.Unlock()
	la.renewAfter(was)
}

// lay is what lies under a sink's chunk: the message in hand when the sink began to write, whose
// handler may be waiting for that, and the context it was given.
type lay struct {
	at     *cell
	leases []lease
	cancel context.CancelCauseFunc
	ctx    []context.Context // of the lane's stages
}

// takeOver puts a sink's chunk in hand, with a context of its own, until putBack.
func (la *lane) takeOver(leases []lease) {
	h := &la.hand
	for _, s := range la.stages {
		h.under.ctx = append(h.under.ctx, s.ctx)
	}
	h.mu.Lock()
	h.under.at, h.under.cancel = h.at.Swap(nil), h.cancel
	h.under.leases, h.leases = h.leases, h.under.leases
	h.cancel = nil
	h.mu.Unlock()
	la.takeAll(leases...)
}

// putBack ends what takeOver began, and returns to what was in hand before. If that has been
// interrupted meanwhile it stays so.
func (la *lane) putBack() {
	h := &la.hand
	h.mu.Lock()
	cancel := h.cancel
	h.leases, h.under.leases = h.under.leases, h.leases[:0]
	h.cancel = h.under.cancel
	h.at.Store(h.under.at)
	h.under.at, h.under.cancel = nil, nil
	h.mu.Unlock()
	cancel(nil)
	for i, s := range la.stages {
		s.ctx = h.under.ctx[i]
	}
	clear(h.under.ctx)
	h.under.ctx = h.under.ctx[:0]
}

// put says that nothing is in hand.
func (la *lane) put() {
	h := &la.hand
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

// renewAfter gives the stages of the lane a context that has not been cancelled, if what was in hand was interrupted.
func (la *lane) renewAfter(was *cell) {
	h := &la.hand
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

// interrupt cancels the handlers' context if what is in hand is lost: one of cells, or several of which all are.
func (la *lane) interrupt(cells map[*cell]bool) {
	h := &la.hand
	h.mu.Lock()
	defer h.mu.Unlock()
	if u := &h.under; u.cancel != nil && isAmong(cells, u.at, u.leases) {
		u.at = &interrupted
		u.cancel(ErrLeaseLost)
	}
	at := h.at.Load()
	if h.cancel != nil && isAmong(cells, at, h.leases) && h.at.CompareAndSwap(at, &interrupted) {
		h.cancel(ErrLeaseLost)
	}
}

// isAmong reports whether what is in hand is lost, now that cells are.
func isAmong(cells map[*cell]bool, at *cell, leases []lease) bool {
	return cells[at] || at == &several && allLost(leases)
}

// lanes are the lanes of a run that are alive.
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
	if cancel := la.hand.cancel; cancel != nil {
		cancel(nil)
	}
}

// interrupt interrupts the lanes that are at one of cells.
func (ls *lanes) interrupt(cells map[*cell]bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for la := range ls.alive {
		la.interrupt(cells)
	}
}
