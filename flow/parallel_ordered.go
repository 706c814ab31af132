package flow

import (
	"sync"
	"sync/atomic"
	"time"
)

// Idea of keeping the order: the feeder cuts chunks into small tasks, and puts each task in a
// queue before it passes it to a worker. The collector takes the tasks from the queue, waits for
// the output of each, and passes it on. The queue bounds how far the workers run ahead of a slow
// message. A task is a few messages while these are quick to handle, and one message while they
// are slow, so that slow work is spread over all workers.

// order is a crew that keeps the order.
type order[T, U any] struct {
	*crew[T, U]
	queue   chan *task[T, U]
	free    chan *task[T, U] // tasks to reuse
	pace    pace
	waiting atomic.Pointer[task[T, U]] // the collector has taken it from the queue and not passed it on
}

// ordered makes the islands of a stage that keeps the order.
func (c *crew[T, U]) ordered(to chain[U]) {
	o := &order[T, U]{crew: c, queue: make(chan *task[T, U], max(4*c.n.workers, 16))}
	o.free = make(chan *task[T, U], cap(o.queue)+o.n.workers)
	c.done = func() { close(o.queue) }
	for range c.n.workers {
		c.worker(o.start)
	}
	c.feed(o.deal, nil)
	c.b.leftover(o.giveBackOut)
	c.b.island(to.nodes, to.done, func() error {
		la := newLane(c.b.run)
		push := to.open(la)
		return la.live(func() error { return o.collect(la, push) })
	})
}

// deal cuts a chunk into tasks and passes them to the workers.
func (o *order[T, U]) deal(la *lane, chunk []Message[T]) {
	grain := max(1, min(o.pace.grain(), len(chunk)/o.n.workers))
	rest := chunk
	for len(rest) > 0 && !la.aborted && !o.drains() {
		n := min(grain, len(rest))
		t := o.fresh()
		t.msgs = append(t.msgs[:0], rest[:n]...)
		rest = rest[n:]
		o.add(t)
		if o.send(la, o.queue, t) && !o.send(la, o.work, t) {
			t.done <- struct{}{}
		}
	}
	o.in.stats.worked(len(rest))
	giveBack(la, rest)
	o.in.recycle(chunk)
}

func (o *order[T, U]) fresh() *task[T, U] {
	select {
	case t := <-o.free:
		return t
	default:
		return &task[T, U]{done: make(chan struct{}, 1)}
	}
}

// start makes the state of a worker's life. Output that a handler emits at an alarm or at its end
// goes on as a task of its own.
func (o *order[T, U]) start(la *lane) func(*task[T, U]) {
	var cur, extra *task[T, U]
	sendExtra := func() {
		if extra == nil {
			return
		}
		t := extra
		extra = nil
		t.done <- struct{}{}
		select {
		case o.queue <- t:
		case <-la.ctx.Done():
			la.aborted = true
			giveBackTo(&la.dirty, t.out, false)
		}
	}
	la.hooks = append(la.hooks, hook{
		flush: func(block bool) {
			if block {
				sendExtra()
			}
		},
		end: func() error { sendExtra(); return nil },
		drop: func() {
			if extra != nil {
				giveBackTo(&la.dirty, extra.out, false)
			}
			if cur != nil && la.ctx.Err() != nil { // else the next life continues with it
				giveBackTo(&la.dirty, cur.out, false)
				cur.out = nil
			}
		},
	})
	push := o.open(la, o.st, func(ms []Message[U]) {
		t := cur
		if t == nil {
			if extra == nil {
				extra = &task[T, U]{done: make(chan struct{}, 1)}
			}
			t = extra
		}
		t.out = append(t.out, ms...)
	})
	return func(t *task[T, U]) {
		if cur = t; extra != nil {
			cur.out, extra = append(cur.out, extra.out...), nil
		}
		began := time.Now()
		n := o.each(la, t, push)
		o.pace.saw(n, time.Since(began))
		if !la.aborted {
			cur = nil
			t.done <- struct{}{}
		}
	}
}

// collect is the collector. It passes on the output of the tasks in the order of the queue.
func (o *order[T, U]) collect(la *lane, push func([]Message[U])) error {
	for {
		if err := la.ring(); err != nil {
			return err
		}
		t := o.waiting.Load()
		if t == nil {
			next, ok, again := receive(la, o.queue)
			if !ok {
				return nil
			}
			if !again {
				o.waiting.Store(next)
			}
			continue
		}
		_, ok, again := receive(la, t.done)
		if !ok {
			return nil
		}
		if again {
			continue
		}
		o.waiting.Store(nil)
		out := t.out
		t.out = nil
		pushAll(la, out, push)
		la.dirty.tell()
		if la.aborted {
			return nil
		}
		clear(out)
		if la.run.reading.Err() != nil { // a drain may still give back some of it
			continue
		}
		clear(t.msgs)
		t.out = out[:0]
		select {
		case o.free <- t:
		default:
		}
	}
}

// giveBackOut gives back the output that was not passed on at the end of a run.
func (o *order[T, U]) giveBackOut(dirty *dirtySessions) {
	for t := o.waiting.Load(); ; {
		if t != nil {
			select {
			case <-t.done:
				giveBackTo(dirty, t.out, false)
			default: // a worker still has it
			}
		}
		select {
		case next, ok := <-o.queue:
			if !ok {
				return
			}
			t = next
		default:
			return
		}
	}
}

// pace is the average time per message, measured by the workers. The feeder derives the size of
// tasks from it.
type pace struct {
	mu  sync.Mutex
	per time.Duration
}

func (p *pace) saw(n int, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.per = (p.per*7 + d/time.Duration(max(n, 1))) / 8
}

// taskTime is the work that a task should hold: enough to make its handovers cheap.
const taskTime = 50 * time.Microsecond

// grain returns how many messages make a task.
func (p *pace) grain() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.per <= 0 {
		return 1
	}
	return max(1, min(64, int(taskTime/p.per)))
}
