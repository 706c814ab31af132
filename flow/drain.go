package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// drainLog is how often a drain logs which stages it waits for.
const drainLog = 5 * time.Second

// waitIslands waits for the islands to end, for at most the drain timeout, and reports whether they
// did. It also reports true after a stop.
func (r *Running) waitIslands() bool {
	t := time.NewTimer(r.graph.drainTimeout)
	defer t.Stop()
	every := time.NewTicker(drainLog)
	defer every.Stop()
	for began := time.Now(); ; {
		select {
		case <-r.group.Done():
			return true
		case <-r.hard.Done():
			return true
		case <-t.C:
			r.log.Warn("drain timeout: unfinished entries are given back",
				append(r.waitsFor(), "timeout", r.graph.drainTimeout.String())...)
			return false
		case <-every.C:
			r.sweep() // a chunk may have been sent meanwhile
			took := time.Since(began)
			r.log.Warn("graph still drains", append(r.waitsFor(), "since", took.Round(time.Second).String(),
				"left", (r.graph.drainTimeout-took).Round(time.Second).String())...)
		}
	}
}

// waitsFor returns log attributes with the causes of a slow drain: the unsettled entries of the
// sources, and the working stages.
func (r *Running) waitsFor() []any {
	entries := 0
	for _, s := range r.sources {
		entries += s.inFlight()
	}
	stuck := r.stuck()
	names := make([]string, len(stuck))
	for i, s := range stuck {
		names[i] = s.String()
	}
	return []any{"entries", entries, "waiting_for", strings.Join(names, ", ")}
}

// settleRest gives back messages left in edges and in goroutines that did not end, and has the
// sources commit them.
func (r *Running) settleRest(report *DrainReport) {
	var n dirtySessions
	for _, f := range r.leftovers {
		f(&n)
	}
	for _, st := range r.stages {
		st.tickets.end()
	}
	// Before the sources: entries that it releases settle with their own outcome and are not given
	// back.
	r.watches.finish(r.graph.ackTimeout)
	var sessions []*session
	for _, s := range r.sources {
		s.mu.Lock()
		sessions = append(sessions, s.sessions...)
		s.mu.Unlock()
	}
	for _, ses := range sessions {
		ses.finish()
	}
	if !r.committers.WaitFor(r.graph.ackTimeout) {
		r.log.Warn("sources did not commit in time: the remaining entries are delivered again",
			"timeout", r.graph.ackTimeout.String())
		for _, ses := range sessions {
			ses.cancel()
		}
		r.committers.WaitFor(r.graph.ackTimeout)
	}
	for _, s := range r.sources {
		released := s.released.Load()
		report.Settled += s.settled.Load() - released
		report.Released += released
		report.Unbegun += s.unbegun.Load()
		report.Uncommitted += s.uncommitted.Load()
	}
}

// stuck lists the stages of the islands that have not ended.
func (r *Running) stuck() []Stuck {
	var stuck []Stuck
	seen := make(map[*node]bool)
	for _, isl := range r.islands {
		select {
		case <-isl.ended:
			continue
		default:
		}
		n := isl.nodes[0]
		if seen[n] { // a sink with several workers has several islands
			continue
		}
		seen[n] = true
		holding := uint64(0)
		for _, e := range r.edges {
			if e.to == n {
				holding += e.messages.Load() - e.done.Load()
			}
		}
		stuck = append(stuck, Stuck{Stage: r.stages[n].name, Holding: holding})
	}
	// Stages that hold messages keep the others from ending.
	if some := slices.DeleteFunc(slices.Clone(stuck), func(s Stuck) bool { return s.Holding == 0 }); len(some) > 0 {
		return some
	}
	return stuck
}

// Idea of giving back at a drain: some sources can pass entries that they have read on to other
// processes (GivesBack). When the graph drains, entries of these sources that no handler has begun
// go back at once. These are the messages that wait in the edges behind the sources, and those that
// a lane has taken from such an edge and not pushed. The lanes do not do this themselves, because a
// handler may take long. The goroutine that drains the graph empties the edges, and takes the
// unbegun messages of the lanes from their rests. Messages further downstream were begun, and are
// finished.

// untouched reports whether no handler has begun the input of n: it comes from sources, through
// stages that only pass it on.
func untouched(n *node) bool {
	return !slices.ContainsFunc(n.ins, func(in input) bool {
		return in.node == nil || in.node.kind != kindSource && !(in.node.Passes && untouched(in.node))
	})
}

// givesBack reports whether all input of n may be given back at a drain. A stage that waits for one
// input because of a message from another does not give back. Messages that a stage has held and
// passes on at its end are finished, too.
func (n *node) givesBack() bool {
	return !n.pairs && !slices.ContainsFunc(n.ins, func(in input) bool {
		if in.node.kind == kindSource {
			return !in.node.GivesBack
		}
		return in.node.Holds > 0 || !in.node.givesBack()
	})
}

// rest is the part of a chunk that a lane has taken from its edge and not begun. The lane takes one
// grain at a time from it: as many messages as it handles in about a millisecond, or a single one
// while messages are slow.
type rest[T any] struct {
	stats *edgeStats
	grain int // owned by the lane

	mu      sync.Mutex
	waiting []Message[T]
}

const (
	grainTime = time.Millisecond
	mostGrain = 1 << 16
)

// inGrains returns a function that pushes a chunk of a lane. When the graph drains, it gives the rest
// of the chunk back. The messages are counted in stats.
func inGrains[T any](la *lane, stats *edgeStats, push func([]Message[T])) func([]Message[T]) {
	h := &rest[T]{stats: stats, grain: 1}
	la.hooks = append(la.hooks, hook{sweep: h.sweep})
	return func(chunk []Message[T]) { h.pushAll(la, chunk, push) }
}

// sweep gives back the remaining messages. It holds the lock throughout, because afterwards the
// lane reuses the slice.
func (h *rest[T]) sweep(dirty *dirtySessions) {
	h.mu.Lock()
	defer h.mu.Unlock()
	giveBackTo(dirty, h.waiting, true)
	h.stats.worked(len(h.waiting))
	h.waiting = nil
}

// take takes up to n messages.
func (h *rest[T]) take(n int) []Message[T] {
	h.mu.Lock()
	defer h.mu.Unlock()
	n = min(n, len(h.waiting))
	part := h.waiting[:n]
	h.waiting = h.waiting[n:]
	return part
}

// pushAll pushes a chunk. If the graph drains, it gives the rest of the chunk back.
func (h *rest[T]) pushAll(la *lane, chunk []Message[T], push func([]Message[T])) {
	h.mu.Lock()
	h.waiting = chunk
	h.mu.Unlock()
	defer h.sweep(&la.dirty) // messages are left if the lane is aborted or panics, or the graph drains
	for !la.aborted && la.run.reading.Err() == nil {
		part := h.take(h.grain)
		if len(part) == 0 {
			return
		}
		started := time.Now()
		pushAll(la, part, push)
		took := time.Since(started)
		h.stats.worked(len(part))
		h.grain = 2 * h.grain
		if took > 0 {
			h.grain = min(h.grain, max(1, int(int64(len(part))*int64(grainTime)/int64(took))))
		}
		h.grain = min(h.grain, mostGrain)
	}
}

// sweep gives back at once all messages that no handler has begun and that can be given back.
func (r *Running) sweep() {
	var n dirtySessions
	r.lanes.sweep(&n)
	for _, f := range r.sweeps {
		f(&n)
	}
	n.tell()
}

// Idea of finishing: a stage cannot close its input, because other stages may read the same sources.
// So it only says that it wants no more. A source of which no unfinished stage gets messages stops
// reading, as it does when the graph drains. Its end then passes through the stages as always.

// errRefused is the verdict on messages that a finished stage refuses.
var errRefused error = errors.New("flow: the stage is finished")

// Finish declares that the stage that called its handler with ctx wants no more messages. A source
// stops reading, as in a drain, when its messages reach only finished stages. Then the stage's
// input ends. Other sources continue, because other stages need them.
//
// Finish returns the verdict with which the handler refuses the messages that still arrive. It is
// not a fault. If the source of a refused message has stopped reading and can deliver again, the
// entry goes back. Otherwise the message is done, as if it was filtered out.
//
// In a sub-pipeline of [Nest] only the key is finished: no source stops reading.
//
// A stage stays finished until the graph ends, also if it is restarted. Outside a running graph
// Finish only returns the verdict.
func Finish(ctx context.Context) error {
	if s := stageOf(ctx); s != nil && s.la.nest == nil {
		s.st.finish()
	}
	return errRefused
}

// finish marks a stage that wants no more messages.
func (st *stageRun) finish() {
	if !st.finished.Swap(true) {
		st.run.stopUnneeded()
	}
}

// stopUnneeded stops the reading of sources that only finished stages need.
func (r *Running) stopUnneeded() {
	for _, s := range r.sources {
		needed := false
		for _, n := range r.graph.nodes {
			needed = needed || n.kind == kindSink && r.needs(n, s.node)
		}
		if !needed {
			s.endReading()
			s.notify()
		}
	}
}

// needs reports whether messages of a source reach n through unfinished stages.
func (r *Running) needs(n, src *node) bool {
	if n == src {
		return true
	}
	if r.stages[n].finished.Load() {
		return false
	}
	for _, in := range n.ins {
		if r.needs(in.node, src) {
			return true
		}
	}
	return false
}

// refuse settles a message that the stage refuses, because it is finished: it goes back, or ends with
// the outcome otherwise.
func (s *stageBase) refuse(l lease, otherwise Outcome) {
	goesBack := true
	l.roots(func(ses *session) {
		goesBack = goesBack && ses.source.node.Redelivers && ses.source.reading.Err() != nil
	})
	switch {
	case !goesBack:
		l.release(otherwise, nil, &s.la.dirty)
	case untouched(s.st.node):
		l.giveBack(&s.la.dirty)
	default:
		s.la.nack(l)
	}
}

// DrainReport describes how a graph ended.
type DrainReport struct {
	Graph    string
	Took     time.Duration // from the request to end, or from the end of the sources, to the end
	Settled  uint64        // entries settled in the whole run: acked, dropped, dead, or nacked by a fault
	Released uint64        // entries given back unfinished in the whole run; not included in Settled
	// Unbegun is how many of the Released entries no handler had begun. Their delivery does not
	// count.
	Unbegun uint64
	// Uncommitted is the number of entries that were settled but not committed to their source by
	// the end. The source will deliver them again.
	Uncommitted uint64
	Stuck       []Stuck // stages that did not end in time
}

// Stuck is a stage that did not end in time.
type Stuck struct {
	Stage string
	// Holding is the number of messages that reached the stage and did not leave it.
	Holding uint64
}

func (s Stuck) String() string { return fmt.Sprintf("%s (%s)", s.Stage, plural(s.Holding, "message")) }

// DrainError is returned by Run, Wait and Drain if a drain exceeded its timeout, or if not all
// settlements could be committed. No message is lost: the sources deliver again the entries that
// were given back or not committed.
type DrainError struct{ DrainReport }

func (e *DrainError) Error() string {
	names := make([]string, len(e.Stuck))
	for i, s := range e.Stuck {
		names[i] = s.String()
	}
	s := fmt.Sprintf("flow: graph %q: no clean end within %v: %s given back unfinished",
		e.Graph, e.Took.Round(time.Millisecond), entries(e.Released))
	if e.Uncommitted > 0 {
		s += fmt.Sprintf(", %d finished but not committed", e.Uncommitted)
	}
	if len(names) > 0 {
		s += ", stuck: " + strings.Join(names, ", ")
	}
	return s
}

// Unwrap makes errors.Is(err, ErrDrainTimeout) true.
func (e *DrainError) Unwrap() error { return ErrDrainTimeout }
