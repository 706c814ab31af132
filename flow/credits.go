package flow

import (
	"sync"
	"sync/atomic"
	"time"
)

// sourceRun is a source during a run: its credits, and the sessions of its lives.
//
// Idea of credits: a source may have so many entries, and so many bytes, unsettled at once. Read is asked for no more
// than the free credits and not at all when there are none, and they come back when a settlement has been committed. So
// a slow sink stops the reader, and memory is bounded by these two numbers. Within them the pace
// bounds how far the source reads ahead.
type sourceRun struct {
	run    *Running
	node   *node
	st     *stageRun
	signal chan struct{} // holds a token when credits or the pause may have changed

	mu       sync.Mutex
	free     int // credits
	bytes    int
	pace     readAhead
	paused   bool
	sessions []*session
	opened   atomic.Bool // at least once

	settled     atomic.Uint64
	released    atomic.Uint64 // given back unfinished
	unbegun     atomic.Uint64 // of these: before a handler had them
	uncommitted atomic.Uint64 // settled, but no commit of it has succeeded by the end
	lost        atomic.Uint64 // leases lost while the entries were in work
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

// short reports that less than half of what may be in flight is left, or that the source is paused.
func (s *sourceRun) short() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paused || s.room() < s.pace.window/2 || s.bytes < s.node.maxBytes/2
}

// room is how many entries may be read now. The lock is held.
func (s *sourceRun) room() int { return s.free - (s.node.maxInFlight - s.pace.window) }

// inFlight is how many entries are not settled.
func (s *sourceRun) inFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.node.maxInFlight - s.free
}

// credits returns how much may be read now; false if nothing may, until there is a signal.
func (s *sourceRun) credits() (room, bytes int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	room = s.room()
	return min(room, s.node.chunk), s.bytes, !s.paused && room > 0 && s.bytes > 0
}

// take takes credits for n entries that were read at a time.
func (s *sourceRun) take(n, bytes int, at time.Time) {
	s.mu.Lock()
	if s.free == s.node.maxInFlight {
		s.pace.since = at
	}
	s.free -= n
	s.bytes -= bytes
	s.mu.Unlock()
}

// credit returns the credits of n entries, of which the stages behind have settled done.
func (s *sourceRun) credit(n, bytes, done int) {
	now := time.Now()
	s.mu.Lock()
	s.free += n
	s.bytes += bytes
	s.pace.settled(done, now)
	s.mu.Unlock()
	s.notify()
}
