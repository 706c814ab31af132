package flow

import "time"

// builder turns a blueprint into a run: islands, edges and sources. It goes from the sinks up, so that each stage knows
// what is downstream of it when it is linked.
type builder struct {
	run   *Running
	state map[*node]any // of the nodes with several outputs, until all of them are linked
}

func stateOf[S any](b *builder, n *node, make func() S) S {
	if s, ok := b.state[n].(S); ok {
		return s
	}
	s := make()
	b.state[n] = s
	return s
}

// island is what one supervised goroutine runs: a body, which is one life, called again after a failure. It covers the
// stages that are restarted together.
type island struct {
	nodes    []*node
	body     func() error
	done     func()        // tells what is downstream that no more will come
	wanted   func() bool   // whether a restart makes sense
	hopeless func() bool   // of a source: whether it has never been open
	ended    chan struct{} // closed at the end of the last life
	failures []time.Time   // within the window
	restarts int
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
		body:     body(s),
		wanted:   func() bool { return b.run.reading.Err() == nil },
		hopeless: func() bool { return !s.opened.Load() },
		ended:    make(chan struct{}),
	})
}

func (b *builder) edge(stats *edgeStats, giveBack func(*news)) {
	b.run.edges = append(b.run.edges, edgeRun{stats, giveBack})
}

// sweep notes what gives back, at a drain, what has not been begun.
func (b *builder) sweep(f func(*news)) { b.run.sweeps = append(b.run.sweeps, f) }

// edgeRun is what a run knows of an edge, whatever its type.
type edgeRun struct {
	stats    *edgeStats
	giveBack func(*news)
}
