package flow

// lanesShared makes the islands of a sink with several unordered workers, which all read one edge.
func lanesShared[T any](b *builder, n *node, end chain[T]) chain[T] {
	e := newEdge[T](b, n, n, n.workers)
	for range n.workers {
		readEdge(b, e, end)
	}
	return e.sender()
}

// lanesByKey makes the islands of a keyed sink. Each island has its own edge and its share of the
// keys.
func lanesByKey[T any](b *builder, n *node, key keyer[T], end chain[T]) chain[T] {
	edges := make([]*edge[T], n.workers)
	for i := range edges {
		edges[i] = newEdge[T](b, n, n, edgeDepth)
		edges[i].senders.Add(1)
		readEdge(b, edges[i], end)
	}
	return chain[T]{
		open: func(la *lane) func(Message[T]) {
			ports := make([]*port[T], len(edges))
			for i, e := range edges {
				ports[i] = e.attach(la)
			}
			st := b.run.stages[n]
			return func(m Message[T]) {
				if h, ok := keyOf(la, st, key, m); ok {
					ports[h%uint64(len(ports))].push(m)
				}
			}
		},
		done: func() {
			for _, e := range edges {
				e.left()
			}
		},
		nodes: []*node{n},
	}
}
