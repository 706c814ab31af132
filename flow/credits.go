package flow

import (
	"sync"
	"sync/atomic"
	"time"
)

// sourceRun is a source during a run: its credits, and the sessions of its lives.
//
// Idea of credits: a source has a limited number of unsettled entries, and of their bytes. Read is
// asked for at most the free credits, and is not called if there are none. Credits return when a
// settlement has been committed. So a slow sink stops the reader, and these two numbers bound the
// memory. Within them the pace bounds how far the source reads ahead.
type sourceRun struct {
	run    *Running
	node   *node
	st     *stageRun
	signal chan struct{} // holds a token after credits or the pause may have changed

	mu       sync.Mutex
	free     int // credits
	bytes    int
	pace     readAhead
	paused   bool
	sessions []*session
	opened   atomic.Bool // was opened at least once

	settled     atomic.Uint64
	released    atomic.Uint64 // given back unfinished
	unbegun     atomic.Uint64 // of these: before a handler began them
	uncommitted atomic.Uint64 // settled, but not committed by the end
	lost        atomic.Uint64 // leases lost while the entries were in progress
	outcomes    [len(outcomeNames)]atomic.Uint64
}

func newSourceRun(r *Running, n *node) *sourceRun {
	s := &sourceRun{
		run: r, node: n, st: r.stages[n], free: n.maxInFlight, bytes: n.maxBytes,
		signal: make(chan struct{}, 1),
	}
	s.pace = newReadAhead(r, n)
	return s
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

// short reports whether less than half of the credits are left, or the source is paused.
func (s *sourceRun) short() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paused || s.room() < s.pace.window/2 || s.bytes < s.node.maxBytes/2
}

// room returns how many entries may be read now. The caller holds the lock.
func (s *sourceRun) room() int { return s.free - (s.node.maxInFlight - s.pace.window) }

// inFlight returns the number of unsettled entries.
func (s *sourceRun) inFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.node.maxInFlight - s.free
}

// credits returns how much may be read now. It returns false if nothing may be read until the next
// signal.
func (s *sourceRun) credits() (room, bytes int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	room = s.room()
	return min(room, s.node.chunk), s.bytes, !s.paused && room > 0 && s.bytes > 0
}

// take takes the credits of n entries that were read at the given time.
func (s *sourceRun) take(n, bytes int, at time.Time) {
	s.mu.Lock()
	if s.free == s.node.maxInFlight {
		s.pace.since = at
	}
	s.free -= n
	s.bytes -= bytes
	s.mu.Unlock()
}

// credit returns the credits of n entries, of which the stages have settled done.
func (s *sourceRun) credit(n, bytes, done int) {
	now := time.Now()
	s.mu.Lock()
	s.free += n
	s.bytes += bytes
	s.pace.settled(done, now)
	s.mu.Unlock()
	s.notify()
}
