package flow

import (
	"slices"
	"strings"
	"time"
)

// drainLog is how often a drain logs which stages it waits for.
const drainLog = 5 * time.Second

// waitIslands waits for the islands to end, for at most the drain timeout, and reports whether they
// did. A stop counts as an end.
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

// waitsFor returns log attributes that tell what delays a drain: the unsettled entries of the
// sources, and the stages that work.
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

// stuck lists the stages whose islands have not ended.
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
