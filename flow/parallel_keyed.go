package flow

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Idea of keys: while a message of a key is handled, later messages of the key queue behind it, and
// the worker that has handled it takes the next. If a message must be retried, it is parked, its
// key stays busy, and the worker continues with other keys. When the retry is due, the feeder
// passes the message to any worker, as a task of its own. Only the credits of the sources limit the
// waiting messages, because with another limit a few waiting keys would stop all others.
//
// The output of all workers goes into one list before the key is released, so that it keeps the
// order of the key. The stages behind the workers take the whole list whenever it is not empty.

// byKey is a crew that keeps the order of each key.
type byKey[T, U any] struct {
	*crew[T, U]
	key keyer[T]

	mu      sync.Mutex              // guards the fields below
	waiting []*task[T, U]           // the tasks that may have messages, in order
	busy    map[uint64][]Message[T] // the keys in progress, with the messages that wait behind them
	parked  []*task[T, U]           // the first due comes first
	out     []Message[U]            // the output
	room    chan struct{}           // closed when out has been taken; nil if no worker waits for that

	ready chan struct{} // holds a token if out is not empty; closed when the workers have ended
}

// keyed makes the islands of a stage with KeyedBy.
func (c *crew[T, U]) keyed(key keyer[T], to chain[U]) {
	k := &byKey[T, U]{crew: c, key: key, busy: make(map[uint64][]Message[T]), ready: make(chan struct{}, 1)}
	c.done = func() { close(k.ready) }
	for range c.n.workers {
		w := &keyWorker[T, U]{byKey: k}
		c.worker(w.start)
	}
	c.b.island(to.nodes, to.done, func() error {
		la := newLane(c.b.run)
		push := to.open(la)
		return la.live(func() error { return k.passOn(la, push) })
	})
	c.feed(k.deal, func(la *lane) {
		la.alarms = append(la.alarms, alarm{next: k.nextDue, ring: func() error { k.retry(la); return nil }})
	})
	c.b.leftover(k.giveBackQueues)
	c.b.leftover(k.giveBackOut)
	if c.in.gives {
		c.b.sweep(k.giveBackQueues)
	}
}

// deal computes the keys of a chunk and offers it to the workers.
func (k *byKey[T, U]) deal(la *lane, chunk []Message[T]) {
	t := &task[T, U]{msgs: chunk[:0], keys: make([]uint64, 0, len(chunk))}
	for _, m := range chunk {
		if key, ok := keyOf(la, k.st, k.key, m); ok {
			t.msgs, t.keys = append(t.msgs, m), append(t.keys, key)
		}
	}
	k.in.stats.worked(len(chunk) - len(t.msgs))
	if len(t.msgs) > 0 {
		k.add(t)
		k.mu.Lock()
		k.waiting = append(k.waiting, t)
		k.mu.Unlock()
		k.offer(la, t)
	}
}

// keyOf calls the key function. If it panics, the message fails and is not retried.
func keyOf[T any](la *lane, st *stageRun, key keyer[T], m Message[T]) (h uint64, ok bool) {
	err := guard(la.ctx, func(context.Context) error { h = key(m.Value); return nil })
	if err == nil {
		return h, true
	}
	failOutright(la, st, m, err)
	return 0, false
}

// take takes the next message with a key that is not busy, and makes the key busy. Messages of busy
// keys queue. It returns nil if no such message is left.
func (k *byKey[T, U]) take() (t *task[T, U], m Message[T], key uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.waiting) > 0 {
		t := k.waiting[0]
		i := t.next.Add(1) - 1
		if i >= int64(len(t.msgs)) {
			k.waiting = k.waiting[1:]
			continue
		}
		m, key := t.msgs[i], t.keys[i]
		queue, busy := k.busy[key]
		if !busy {
			k.busy[key] = nil
			return t, m, key
		}
		k.busy[key] = append(queue, m)
		k.finished(t, 1)
	}
	return nil, m, 0
}

// next takes the message that waits behind a finished one of its key. If no message waits, the key
// is no longer busy.
func (k *byKey[T, U]) next(key uint64) (m Message[T], ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	queue := k.busy[key]
	if len(queue) == 0 {
		delete(k.busy, key)
		return m, false
	}
	k.busy[key] = queue[1:]
	return queue[0], true
}

// keyWorker is one worker. Its fields survive a life that failed.
type keyWorker[T, U any] struct {
	*byKey[T, U]
	key  uint64
	has  bool          // the worker has made key busy
	from *task[T, U]   // the task of the message that made it busy
	park *task[T, U]   // the message in progress is to be retried
	out  []Message[U]  // output that is not in byKey.out yet
	one  [1]Message[T] // the message in progress
}

// start makes the state of a life, and returns the function that handles tasks.
func (w *keyWorker[T, U]) start(la *lane) func(*task[T, U]) {
	la.hooks = append(la.hooks, hook{
		flush: func(block bool) {
			if block {
				w.deliver(la)
			}
		},
		end:  func() error { w.deliver(la); return nil },
		drop: func() { w.drop(la) },
	})
	push := w.open(la, w.st, func(ms []Message[U]) { w.out = append(w.out, ms...) })
	la.park = func(after time.Duration, tried int) {
		w.park = &task[T, U]{tried: tried, due: time.Now().Add(after)}
	}
	return func(t *task[T, U]) {
		la.beginChunk()
		w.follow(la, push)
		if t.tried > 0 && t.next.Add(1) == 1 {
			w.key, w.has = t.keys[0], true
			w.handle(la, t, t.msgs[0], push)
		}
		for !la.aborted {
			t, m, key := w.take()
			if t == nil {
				return
			}
			w.key, w.has = key, true
			w.handle(la, t, m, push)
		}
	}
}

// handle handles a message of a task, and those that wait behind its key.
func (w *keyWorker[T, U]) handle(la *lane, t *task[T, U], m Message[T], push func([]Message[T])) {
	if la.tried = t.tried; la.tried > 0 {
		w.st.in.Add(^uint64(0)) // it will be counted again
	}
	w.from = t
	w.push(la, m, push)
	w.follow(la, push)
}

// follow handles the messages that wait behind the worker's key, until no message waits or one is
// parked.
func (w *keyWorker[T, U]) follow(la *lane, push func([]Message[T])) {
	for w.has && !la.aborted {
		var m Message[T]
		if m, w.has = w.next(w.key); w.has {
			w.push(la, m, push)
		}
	}
	if w.from != nil && !w.has {
		w.finished(w.from, 1)
		w.from = nil
	}
}

// push pushes one message. If it is to be retried, it is parked, and the worker leaves its key.
func (w *keyWorker[T, U]) push(la *lane, m Message[T], push func([]Message[T])) {
	w.one[0] = m
	pushSome(la, w.one[:], push)
	la.tried = 0
	w.deliver(la)
	t := w.park
	if t == nil {
		return
	}
	w.park, w.has = nil, false
	t.msgs, t.keys = []Message[T]{m}, []uint64{w.key}
	w.add(t)
	w.mu.Lock()
	at, _ := slices.BinarySearchFunc(w.parked, t, func(a, b *task[T, U]) int { return a.due.Compare(b.due) })
	w.parked = slices.Insert(w.parked, at, t)
	w.mu.Unlock()
	wake(w.feeder.wake) // to wait for the retry
}

// deliver moves the worker's output to the list. While that is long, it waits.
func (w *keyWorker[T, U]) deliver(la *lane) {
	for len(w.out) > 0 {
		w.mu.Lock()
		if len(w.byKey.out) < defaultChunk {
			w.byKey.out = append(w.byKey.out, w.out...)
			w.mu.Unlock()
			clear(w.out)
			w.out = w.out[:0]
			wake(w.ready)
			return
		}
		if w.room == nil {
			w.room = make(chan struct{})
		}
		room := w.room
		w.mu.Unlock()
		la.dirty.tell()
		began := time.Now()
		la.halt(began)
		select {
		case <-room:
		case <-la.ctx.Done():
			la.aborted = true
			w.drop(la)
		}
		la.except(time.Since(began))
	}
}

func (w *keyWorker[T, U]) drop(la *lane) {
	giveBackTo(&la.dirty, w.out, false)
	w.out = nil
}

// passOn passes on the output of the workers until they have ended.
func (k *byKey[T, U]) passOn(la *lane, push func([]Message[U])) error {
	var spare []Message[U]
	for {
		if err := la.ring(); err != nil {
			return err
		}
		_, more, again := receive(la, k.ready)
		if again {
			continue
		}
		if la.aborted {
			return nil
		}
		k.mu.Lock()
		out := k.out
		k.out = spare
		if k.room != nil {
			close(k.room)
			k.room = nil
		}
		k.mu.Unlock()
		pushAll(la, out, push)
		la.dirty.tell()
		if la.aborted || !more {
			return nil
		}
		clear(out)
		spare = out[:0]
	}
}

// nextDue returns when the first retry is due; the zero time for never.
func (k *byKey[T, U]) nextDue() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.parked) == 0 {
		return time.Time{}
	}
	return k.parked[0].due
}

// retry passes messages to the workers when their retry is due.
func (k *byKey[T, U]) retry(la *lane) {
	for !la.aborted {
		k.mu.Lock()
		if len(k.parked) == 0 || k.parked[0].due.After(time.Now()) {
			k.mu.Unlock()
			return
		}
		t := k.parked[0]
		k.parked = k.parked[1:]
		k.mu.Unlock()
		k.send(la, k.work, t)
	}
}

// giveBackOut gives back the output that was not passed on at the end of a run.
func (k *byKey[T, U]) giveBackOut(dirty *dirtySessions) {
	k.mu.Lock()
	out := k.out
	k.out = nil
	k.mu.Unlock()
	giveBackTo(dirty, out, false)
}

// giveBackQueues gives back the messages that wait behind their key.
func (k *byKey[T, U]) giveBackQueues(dirty *dirtySessions) {
	var back []Message[T]
	k.mu.Lock()
	for key, queue := range k.busy {
		back = append(back, queue...)
		k.busy[key] = nil
	}
	k.mu.Unlock()
	giveBackTo(dirty, back, k.in.raw)
}

// keyedLanes makes the islands of a keyed sink. Each island has its own edge and its share of the
// keys.
func keyedLanes[T any](b *builder, n *node, key keyer[T], end chain[T]) chain[T] {
	edges := make([]*edge[T], n.workers)
	for i := range edges {
		edges[i] = newEdge[T](b, n, n, edgeDepth)
		edges[i].senders.Add(1)
		readEdge(b, edges[i], end)
	}
	return chain[T]{
		open: func(la *lane) func([]Message[T]) {
			ports := make([]*port[T], len(edges))
			for i, e := range edges {
				ports[i] = e.attach(la)
			}
			st := b.run.stages[n]
			return func(ms []Message[T]) {
				for _, m := range ms {
					if h, ok := keyOf(la, st, key, m); ok {
						ports[h%uint64(len(ports))].pushOne(m)
					}
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
