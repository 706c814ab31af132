package flow

// unordered makes the islands of a stage that passes on messages in the order in which they are
// finished. The workers send them over one edge to the stages behind.
func (c *crew[T, U]) unordered(to chain[U]) {
	end := edgeTo(c.b, c.n, to).sender()
	c.done = end.done
	for range c.n.workers {
		c.worker(func(la *lane) func(*task[T, U]) {
			n := 0 // messages of the task
			push := c.open(la, c.st, end.open(la))
			eager := func(m Message[T]) {
				push(m)
				if n++; n&(n-1) == 0 && !la.aborted { // quick messages must not wait for a slow one behind
					la.flush(false)
				}
			}
			return func(t *task[T, U]) {
				n = 0
				c.each(la, t, eager)
			}
		})
	}
	c.feed(func(la *lane, chunk []Message[T]) {
		t := &task[T, U]{msgs: chunk}
		c.add(t)
		c.offer(la, t)
	}, nil)
}

// offer passes a live task to as many workers as it has messages for.
func (c *crew[T, U]) offer(la *lane, t *task[T, U]) {
	for range min(c.n.workers, len(t.msgs)) {
		if !c.send(la, c.work, t) {
			return
		}
	}
}

// sharedLanes makes the islands of a sink with several unordered workers, which all read one edge.
func sharedLanes[T any](b *builder, n *node, end chain[T]) chain[T] {
	e := newEdge[T](b, n, n, n.workers)
	for range n.workers {
		readEdge(b, e, end)
	}
	return e.sender()
}
