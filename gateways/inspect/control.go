package inspect

import (
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
)

// control changes the state of a graph in this process. The text is the new state, or why it can't
// be changed.
func (c *collector) control(do Verb, graph string) (text string, ok bool) {
	text = fmt.Sprintf("runs no graph %q", graph)
	for _, r := range c.show.Graphs() {
		if r.Graph().Name() != graph {
			continue
		}
		if r.State() == flow.Ended && ok {
			continue // an earlier run of the graph
		}
		if text, ok = controlOne(do, r); !ok && r.State() != flow.Ended {
			return text, false
		}
	}
	return text, ok
}

func controlOne(do Verb, r *flow.Running) (text string, ok bool) {
	switch do {
	case ActPause:
		r.Pause()
		if r.State() == flow.Paused {
			return "paused", true
		}
	case ActResume:
		r.Resume()
		if r.State() == flow.Active {
			return "active", true
		}
	case ActDrain:
		if s := r.State(); s == flow.Active || s == flow.Paused || s == flow.Draining {
			r.StartDrain()
			return "draining", true
		}
	}
	return "can't " + string(do) + ": the graph is " + r.State().String(), false
}
