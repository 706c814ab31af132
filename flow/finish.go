package flow

import (
	"context"
	"errors"
)

// Idea of finishing: a stage cannot close its input, because other stages may read the same sources.
// So it only says that it wants no more. A source of which no unfinished stage gets messages stops
// reading, as it does when the graph drains. Its end then passes through the stages as always.

// errRefused is the verdict on messages that a finished stage refuses.
var errRefused error = errors.New("flow: the stage is finished")

// Finish declares that the stage that called its handler with ctx wants no more messages. Sources
// whose messages reach only finished stages stop reading, as in a drain, and then the stage's input
// ends. Other sources continue, because other stages need them.
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
