package flow

import "time"

// builder turns a blueprint into a run: islands, edges and sources. It works from the sinks up, so
// the downstream part of each stage is known when the stage is linked.
type builder struct {
	run   *Running
	state map[*node]any // state of nodes with several outputs, until all outputs are linked
}

func stateOf[S any](b *builder, n *node, newState func() S) S {
	if s, ok := b.state[n].(S); ok {
		return s
	}
	s := newState()
	b.state[n] = s
	return s
}

// island is the work of one supervised goroutine. Its body is one life and is called again after a
// failure. An island covers the stages that are restarted together.
type island struct {
	nodes       []*node
	body        func() error
	done        func()        // notifies the downstream part of the end of the input
	wanted      func() bool   // reports whether a restart makes sense
	neverOpened func() bool   // of a source: reports whether it was never opened
	ended       chan struct{} // closed at the end of the last life
	failures    []time.Time   // times of the failures within the window
	restarts    int
}

func (b *builder) island(nodes []*node, done func(), body func() error) {
	b.run.islands = append(b.run.islands, &island{
		nodes: nodes, body: body, done: done,
		wanted: func() bool { return true },
		ended:  make(chan struct{}),
	})
}

func (b *builder) source(nodes []*node, done func(), body func(*sourceRun) func() error) {
	s := newSourceRun(b.run, nodes[0])
	b.run.sources = append(b.run.sources, s)
	b.run.islands = append(b.run.islands, &island{
		nodes: nodes, done: done,
		body:        body(s),
		wanted:      func() bool { return b.run.reading.Err() == nil },
		neverOpened: func() bool { return !s.opened.Load() },
		ended:       make(chan struct{}),
	})
}

func (b *builder) edge(stats *edgeStats, giveBack func(*dirtySessions)) {
	b.run.edges = append(b.run.edges, edgeRun{stats, giveBack})
}

// sweep registers a function that gives back, at a drain, messages that no handler has begun.
func (b *builder) sweep(f func(*dirtySessions)) { b.run.sweeps = append(b.run.sweeps, f) }

// edgeRun is the untyped part of an edge that a run needs.
type edgeRun struct {
	stats    *edgeStats
	giveBack func(*dirtySessions)
}
