package flow

import (
	"context"
	"sync"
	"sync/atomic"
)

// inHand is what a lane is at, for those who have to interrupt it (see Leaser). Only graphs with a source that can lose
// leases use it.
//
// Idea: the handlers' context is one for all messages, and is replaced when it has been cancelled. To interrupt is to replace
// what is in hand by a mark, in one step, and only if it is still in hand; the lane finds the mark when it puts down what it
// had, and renews the context before it goes on. So a cancelled context never meets another message, and a message costs
// an exchange of a pointer.
type inHand struct {
	at     atomic.Pointer[cell]    // the lease of the message, &several, or &interrupted; nil: nothing
	mu     sync.Mutex              // guards what follows; whoever interrupts has it all the while
	leases []lease                 // of entries, while at is &several
	cancel context.CancelCauseFunc // of the handlers' context
}

// Stand-ins for leases in inHand.at.
var several, interrupted cell

// take puts a message in hand. It reports false, and what was in hand stays there, if its lease is lost: then it is not to
// be handled any more.
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

// takeAll puts several messages in hand, which count as lost when all their entries are. It returns what was in hand, for putBack.
func (la *lane) takeAll(leases ...lease) (was *cell) {
	h := &la.hand
	h.mu.Lock()
	h.leases = h.leases[:0]
	for _, l := range leases {
		h.leases = l.appendEntries(h.leases)
	}
	was = h.at.Swap(&several)
	h.mu.Unlock()
	la.renewAfter(was)
	return was
}

// putBack ends what takeAll began, on behalf of a sink, and returns to the message that was in hand when the sink began to
// write.
func (la *lane) putBack(was *cell) {
	la.put()
	if was != &several && was != &interrupted {
		la.hand.at.Store(was)
	}
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
	at := h.at.Load()
	if h.cancel == nil || !cells[at] && (at != &several || !allLost(h.leases)) {
		return
	}
	if h.at.CompareAndSwap(at, &interrupted) {
		h.cancel(ErrLeaseLost)
	}
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
