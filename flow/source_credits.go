package flow

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// sourceRun is a source during a run: its credits, and the sessions of its lives.
//
// Idea of credits: a source has a limited number of unsettled entries, and of their bytes. Read is
// asked for at most the free credits, and is not called while no credits are free. Credits return
// when a settlement has been committed. So a slow sink stops the reader, and these two numbers
// bound the memory. Within them the pace bounds how far the source reads ahead.
type sourceRun struct {
	*stageRun
	untilFinished
	signal chan struct{} // holds a token after credits or the pause may have changed

	mu       sync.Mutex
	free     int // credits
	bytes    int
	pace     readAhead
	paused   bool
	early    bool // no stage wants its messages yet: see InTurn
	sessions []*session
	opened   atomic.Bool // was opened at least once

	settled     atomic.Uint64
	released    atomic.Uint64 // given back unfinished
	unbegun     atomic.Uint64 // of these: before a handler began them
	uncommitted atomic.Uint64 // settled, but not committed by the end
	lost        atomic.Uint64 // leases lost while the entries were in progress
	outcomes    [len(outcomeNames)]atomic.Uint64
}

// untilFinished is the context in which a source reads. It ends when the graph drains, or when only
// finished stages need the source: see Finish.
type untilFinished struct {
	reading    context.Context
	endReading context.CancelFunc
}

func newSourceRun(r *Running, n *node) *sourceRun {
	s := &sourceRun{
		stageRun: r.stages[n], free: n.maxInFlight, bytes: n.maxBytes,
		signal: make(chan struct{}, 1),
	}
	s.reading, s.endReading = context.WithCancel(r.reading)
	s.pace = newReadAhead(r, n)
	return s
}

func (s *sourceRun) notify() {
	wake(s.signal)
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
	return s.paused || s.early || s.room() < s.pace.window/2 || s.bytes < s.node.maxBytes/2
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
	return min(room, s.node.chunk), s.bytes, !s.paused && !s.early && room > 0 && s.bytes > 0
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

// readAhead limits how many entries of a source may be unsettled at once, within MaxInFlight.
//
// Idea: other processes cannot take entries that wait here for their turn. So a source that others
// share (GivesBack) reads ahead only what the stages behind it settle in about a second. The window
// starts at the number of entries that the stages can work on at the same time. It grows by the
// number of settled entries, so it doubles with each round trip, up to the settle rate times a
// second. Only time in which some entry was unsettled counts for the rate, so an idle source
// remembers how fast its stages are.
//
// A stage that holds messages settles nothing until it has enough of them. The floor includes the
// number that a stage declares (Holds). A holder that declares nothing is detected by its effect:
// the window is used up, and all lanes wait for input. Then the window doubles.
type readAhead struct {
	window int
	floor  int // number of entries that the stages can work on and hold at once
	max    int // MaxInFlight
	slow   []*stageRun

	since time.Time // start of the time not yet counted in busy
	count float64   // entries settled in busy
	busy  float64   // seconds in which some entry was unsettled

	seen uint64        // settled entries at the reader's last check
	idle bool          // all lanes were waiting at that check
	look time.Duration // wait before the next check
	at   time.Time     // time of the next check; owned by the reading goroutine
}

const (
	aheadFor    = time.Second
	aheadStart  = 4               // entries above the floor while the rate is unknown
	longestBusy = 2 * time.Second // a longer wait for one settlement adds nothing to the known rate
)

// newReadAhead computes the floor and the first window from the stages behind a source.
func newReadAhead(r *Running, src *node) readAhead {
	a := readAhead{floor: 1, max: src.maxInFlight, look: lookFirst}
	if !src.GivesBack { // no other process can take its entries
		a.floor, a.window = a.max, a.max
		return a
	}
	for _, n := range r.graph.nodes {
		if n == src || !reaches(src, n) {
			continue
		}
		w := widthBefore(n)
		a.floor += n.workers*w.message + n.Holds*w.message + 2*w.pinned
		if n.kind == kindSink && n.chunk > 1 {
			a.slow = append(a.slow, r.stages[n])
		}
	}
	a.floor = min(a.floor, a.max)
	a.window = min(a.floor+aheadStart, a.max)
	return a
}

// settled records n settled entries. The caller holds the source's lock.
func (a *readAhead) settled(n int, now time.Time) {
	if a.floor == a.max {
		return
	}
	took := min(now.Sub(a.since), longestBusy).Seconds()
	a.since = now
	old := aheadFor.Seconds() / (aheadFor.Seconds() + took) // earlier counts lose weight exponentially
	a.busy = old*a.busy + took
	a.count = old*a.count + float64(n)
	if n == 0 || a.busy <= 0 {
		a.grow(n)
		return
	}
	// The chunk being written is not waiting, and the next one is collected meanwhile. Both may be
	// full.
	ahead := aheadFor
	for _, st := range a.slow {
		ahead = max(ahead, aheadFor+2*time.Duration(st.writing.Load()))
	}
	rate := a.count / a.busy
	if want := min(float64(a.floor)+rate*ahead.Seconds(), float64(a.max)); float64(a.window) > want {
		a.window = int(want)
	} else {
		a.window = min(a.window+n, int(want))
	}
}

func (a *readAhead) grow(n int) { a.window = min(a.window+n, a.max) }

// full reports whether only the window keeps the source from reading.
func (s *sourceRun) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.paused && !s.early && s.room() <= 0 && s.free > 0 && s.bytes > 0
}

// nextLook returns the time to check whether the stages starve. The zero time means never. Only the
// reading goroutine calls it.
func (s *sourceRun) nextLook() time.Time {
	switch {
	case !s.full():
		s.pace.at = time.Time{}
	case s.pace.at.IsZero():
		s.pace.at = time.Now().Add(s.pace.look)
	}
	return s.pace.at
}

// widen doubles the window if the stages starve: at this check and at the previous one, all lanes
// except the reader's own were waiting, and nothing settled in between. Only the reading goroutine
// calls it.
func (s *sourceRun) widen(own *lane) {
	idle, settled := s.starves(own), s.settled.Load()
	s.pace.at = time.Time{}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.pace
	if idle && a.idle && settled == a.seen {
		a.grow(a.window)
		a.look = lookFirst
	} else if !idle {
		a.look = min(2*a.look, lookLast)
	}
	a.idle, a.seen = idle, settled
}

// starves reports whether all edges are empty and all lanes except own wait for input.
func (s *sourceRun) starves(own *lane) bool {
	r := s.run
	for _, e := range r.edges {
		if e.fill() > 0 {
			return false
		}
	}
	r.lanes.mu.Lock()
	defer r.lanes.mu.Unlock()
	for la := range r.lanes.alive {
		if la != own && !la.isIdle() {
			return false
		}
	}
	return true
}

// Idea of turns: a stage may read its inputs one after the other. Without turns, the sources of the
// later inputs would read until their credits are used up. These entries would wait with their
// leases. So a source does not read before some stage wants its messages. A stage says so when it
// first picks the input that they come from.

// awaitTurns keeps a source from reading if its messages reach only inputs that were not picked. It
// is called before the graph runs.
func (r *Running) awaitTurns() {
	for _, s := range r.sources {
		s.early = !r.wants(s.node)
	}
}

// picked notes that a stage wants an input. Any goroutine may call it.
func (st *stageRun) picked(port int) {
	if st.begun == nil || port >= len(st.begun) || st.begun[port].Swap(true) {
		return
	}
	for _, s := range st.run.sources {
		if st.run.wants(s.node) {
			s.beginTurn()
		}
	}
}

// wants reports whether a stage wants the messages of a source.
func (r *Running) wants(src *node) bool {
	for _, n := range r.graph.nodes {
		if n.kind == kindSink && r.begins(n, src) {
			return true
		}
	}
	return false
}

// begins reports whether messages of a source reach n through inputs that were picked.
func (r *Running) begins(n, src *node) bool {
	if n == src {
		return true
	}
	begun := r.stages[n].begun
	for i, in := range n.ins {
		if (begun == nil || begun[i].Load()) && r.begins(in.node, src) {
			return true
		}
	}
	return false
}

// beginTurn lets the source read.
func (s *sourceRun) beginTurn() {
	s.mu.Lock()
	was := s.early
	s.early = false
	s.mu.Unlock()
	if was {
		s.notify()
	}
}
