package flow

import (
	"sync"
	"sync/atomic"
	"time"
)

// Idea of Workers: each worker is a lane with its own handler. A feeder reads the edge of the stage
// and passes each chunk, as a task, to as many workers as it has messages for. They take the
// messages one by one, so none of them waits behind a slow one, unless the order demands it. Each
// order passes on the output differently: see unordered, and the files parallel_ordered and
// parallel_keyed. Sinks write whole chunks, so their workers read edges: see sharedLanes and
// keyedLanes.
//
// Each worker is an island. If it fails, its next life continues with the same task. The stages
// behind the workers are an island of their own.

// crew is the workers of a stage.
type crew[T, U any] struct {
	b    *builder
	n    *node
	st   *stageRun
	open func(*lane, *stageRun, func([]Message[U])) func([]Message[T])
	in   *edge[T]
	work chan *task[T, U] // each task once for each worker that it is offered to
	fed  atomic.Int32     // senders of work that have not ended: the last one closes it
	left atomic.Int32     // workers and feeder that have not ended
	done func()           // is called when all of them have ended: the output is complete

	mu     sync.Mutex // guards the fields below
	live   []*task[T, U]
	feeder *lane
	ended  bool // the feeder waits until no task is live
}

// task is some messages on their way through the workers. Any worker may have a task of which it
// can take nothing more.
type task[T, U any] struct {
	msgs []Message[T]
	next atomic.Int64 // index of the first message that was not taken
	left atomic.Int64 // messages that are not finished
	at   int          // index in crew.live; guarded by crew.mu

	keys  []uint64  // keyed: of the messages
	tried int       // keyed: the number of tries of its only message; else 0
	due   time.Time // keyed: when the next try is due

	out  []Message[U]  // ordered: the output; owned by the worker until done, then by the collector
	done chan struct{} // ordered: holds a token when out is complete
}

// parallel makes the islands of a stage with Workers, and returns the chain that leads into it.
func parallel[T, U any](
	b *builder, n *node, key keyer[T], open func(*lane, *stageRun, func([]Message[U])) func([]Message[T]), to chain[U],
) chain[T] {
	c := &crew[T, U]{
		b: b, n: n, st: b.run.stages[n], open: open,
		in: newEdge[T](b, n, n, edgeDepth), work: make(chan *task[T, U], n.workers),
	}
	switch {
	case key != nil:
		c.keyed(key, to)
	case n.unordered:
		c.unordered(to)
	default:
		c.ordered(to)
	}
	b.leftover(func(dirty *dirtySessions) { c.giveBack(dirty, true) })
	if c.in.gives {
		b.sweep(func(dirty *dirtySessions) { c.giveBack(dirty, false) })
	}
	way := c.in.sender()
	way.into = c.in
	return way
}

// feed makes the island of the feeder. It passes chunks to deal until the input has ended and all
// of it is finished. alarms is called for each life; nil for no alarms.
func (c *crew[T, U]) feed(deal func(la *lane, chunk []Message[T]), alarms func(*lane)) {
	c.left.Add(1)
	c.fed.Add(1)
	over := func() {
		c.unfed()
		c.leave()
	}
	c.b.island([]*node{c.n}, over, func() error {
		la := newLane(c.b.run)
		la.raw = c.in.raw
		if alarms != nil {
			alarms(la)
		}
		c.mu.Lock()
		c.feeder = la
		c.mu.Unlock()
		return la.live(func() error { return c.feedAll(la, deal) })
	})
}

// unfed is called once by each sender of work when it ends.
func (c *crew[T, U]) unfed() {
	if c.fed.Add(-1) == 0 {
		close(c.work)
	}
}

func (c *crew[T, U]) feedAll(la *lane, deal func(la *lane, chunk []Message[T])) error {
	in := c.in.ch
	for !la.aborted && (in != nil || c.working()) {
		if err := la.ring(); err != nil {
			return err
		}
		chunk, ok, again := receive(la, in)
		switch {
		case again:
			continue
		case !ok || la.aborted:
			giveBack(la, chunk)
			in = nil
			continue
		case c.drains():
			c.in.stats.worked(len(chunk))
			giveBack(la, chunk)
			c.in.recycle(chunk)
		default:
			deal(la, chunk)
		}
		la.dirty.tell()
	}
	return nil
}

// working reports whether a task is not finished. If so, the feeder is woken when all are.
func (c *crew[T, U]) working() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	return len(c.live) > 0
}

// drains reports whether messages that no handler has begun are given back now.
func (c *crew[T, U]) drains() bool { return c.in.gives && c.b.run.reading.Err() != nil }

// add makes a task live until all its messages are finished.
func (c *crew[T, U]) add(t *task[T, U]) {
	t.next.Store(0)
	t.left.Store(int64(len(t.msgs)))
	c.mu.Lock()
	defer c.mu.Unlock()
	t.at = len(c.live)
	c.live = append(c.live, t)
}

// send sends a task. If the lane is stopped, or the graph drains and the task has not been begun,
// it gives the remaining messages of the task back instead, and reports false.
func (c *crew[T, U]) send(la *lane, to chan<- *task[T, U], t *task[T, U]) bool {
	select {
	case to <- t:
		return true
	default:
	}
	la.dirty.tell()
	var drain <-chan struct{}
	if c.in.gives && t.tried == 0 {
		drain = c.b.run.reading.Done()
	}
	select {
	case to <- t:
		return true
	case <-drain:
	case <-la.ctx.Done():
		la.aborted = true
	}
	rest := t.rest()
	giveBackTo(&la.dirty, rest, c.in.raw && t.tried == 0)
	c.finished(t, len(rest))
	return false
}

// worker makes the island of one worker. start makes the state of a life, and returns the function
// that handles tasks.
func (c *crew[T, U]) worker(start func(*lane) func(*task[T, U])) {
	var t *task[T, U] // survives a life that failed
	c.left.Add(1)
	c.b.island([]*node{c.n}, c.leave, func() error {
		la := newLane(c.b.run)
		handle := start(la)
		return la.live(func() error {
			for {
				if err := la.ring(); err != nil {
					return err
				}
				if t == nil {
					next, ok, again := receive(la, c.work)
					if again {
						continue
					}
					if !ok {
						return nil
					}
					t = next
				}
				handle(t)
				la.dirty.tell()
				if la.aborted {
					return nil
				}
				t = nil
			}
		})
	})
}

// leave is called once by each worker and by the feeder when it ends. A stop may end the workers
// first.
func (c *crew[T, U]) leave() {
	if c.left.Add(-1) == 0 {
		c.done()
	}
}

// each pushes messages of a task as long as there are any that no worker has taken.
func (c *crew[T, U]) each(la *lane, t *task[T, U], push func([]Message[T])) (n int) {
	la.beginChunk()
	defer func() { c.finished(t, n) }()
	for !la.aborted {
		i := t.next.Add(1) - 1
		if i >= int64(len(t.msgs)) {
			break
		}
		n++
		pushSome(la, t.msgs[i:i+1], push)
	}
	return n
}

// finished records that n messages of a task are finished.
func (c *crew[T, U]) finished(t *task[T, U], n int) {
	if n == 0 || t.left.Add(-int64(n)) > 0 {
		return
	}
	c.mu.Lock()
	last := len(c.live) - 1
	c.live[t.at] = c.live[last]
	c.live[t.at].at = t.at
	c.live[last] = nil
	c.live = c.live[:last]
	if c.ended && last == 0 {
		wake(c.feeder.wake)
	}
	c.mu.Unlock()
	if t.tried > 0 {
		return
	}
	c.in.stats.worked(len(t.msgs))
	if t.done == nil { // an ordered task is reused as a whole
		c.in.recycle(t.msgs)
	}
}

// giveBack gives back the messages that no worker has taken; at the end of a run also those that
// wait for a retry.
func (c *crew[T, U]) giveBack(dirty *dirtySessions, all bool) {
	rests := make(map[*task[T, U]][]Message[T])
	c.mu.Lock()
	for _, t := range c.live {
		if all || t.tried == 0 {
			rests[t] = t.rest()
		}
	}
	c.mu.Unlock()
	for t, rest := range rests {
		giveBackTo(dirty, rest, c.in.raw && t.tried == 0)
		c.finished(t, len(rest))
	}
}

// rest takes all remaining messages of a live task.
func (t *task[T, U]) rest() []Message[T] {
	n := int64(len(t.msgs))
	return t.msgs[min(t.next.Swap(n), n):]
}

// unordered makes the islands of a stage that passes on messages in the order in which they are
// finished. The workers send them over one edge to the stages behind.
func (c *crew[T, U]) unordered(to chain[U]) {
	end := edgeTo(c.b, c.n, to).sender()
	c.done = end.done
	for range c.n.workers {
		c.worker(func(la *lane) func(*task[T, U]) {
			n := 0 // messages of the task
			push := c.open(la, c.st, end.open(la))
			eager := func(one []Message[T]) {
				push(one)
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
	deal := func(la *lane, chunk []Message[T]) {
		t := &task[T, U]{msgs: chunk}
		c.add(t)
		c.offer(la, t)
	}
	c.fed.Add(1)
	c.in.deal, c.in.over = deal, c.unfed // without an order, a source needs no feeder
	c.feed(deal, nil)
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
