package flow

import (
	"sync"
	"sync/atomic"
)

// sourceRun is a source during a run: its credits, and the sessions of its lives.
//
// Idea of credits: a source may have so many entries, and so many bytes, unsettled at once. Read is asked for no more
// than the free credits and not at all when there are none, and they come back when a settlement has been committed. So
// a slow sink stops the reader, and memory is bounded by these two numbers.
type sourceRun struct {
	run    *Running
	node   *node
	st     *stageRun
	signal chan struct{} // holds a token when credits or the pause may have changed

	mu       sync.Mutex
	free     int // credits
	bytes    int
	paused   bool
	sessions []*session
	opened   atomic.Bool // at least once

	settled     atomic.Uint64
	released    atomic.Uint64 // given back unfinished
	uncommitted atomic.Uint64 // settled, but no commit of it has succeeded by the end
	lost        atomic.Uint64 // leases lost while the entries were in work
	outcomes    [len(outcomeNames)]atomic.Uint64
}

func newSourceRun(r *Running, n *node) *sourceRun {
	return &sourceRun{
		run: r, node: n, st: r.stages[n], free: n.maxInFlight, bytes: n.maxBytes,
		signal: make(chan struct{}, 1),
	}
}

func (s *sourceRun) notify() {
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

func (s *sourceRun) pause(on bool) {
	s.mu.Lock()
	s.paused = on
	s.mu.Unlock()
	s.notify()
}

// short reports that less than half of the credits are left, or that the source is paused.
func (s *sourceRun) short() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paused || s.free < s.node.maxInFlight/2 || s.bytes < s.node.maxBytes/2
}

// credits returns how much may be read now; false if nothing may, until there is a signal.
func (s *sourceRun) credits() (room, bytes int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(s.free, s.node.chunk), s.bytes, !s.paused && s.free > 0 && s.bytes > 0
}

func (s *sourceRun) credit(n, bytes int) {
	s.mu.Lock()
	s.free += n
	s.bytes += bytes
	s.mu.Unlock()
	s.notify()
}
