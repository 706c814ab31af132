package flow

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow/internal/run"
)

// Idea of Workers: three parts work around an edge. The feeder cuts chunks into tasks and hands
// them to the workers. Each worker is a lane with its own handler and puts its output into the
// task. The collector, also a lane, takes the finished tasks and pushes their output down the
// chain. Ordered: the collector takes the tasks in the order in which they were made, and waits for
// each. Unordered: it takes them as they finish. Keyed: a task is one message. While a message of a
// key is being handled, later messages of the key queue behind it, and the worker that finishes it
// takes the next. A retry parks its task and frees the worker, so that only its key waits.
//
// A window of slots bounds the messages between feeder and collector. Tasks that are parked, or
// queue behind their key, have no slot, because otherwise a few waiting keys would stop all others.
// These tasks are loose, and there are at most as many as the sources have credits. A task is a few
// messages while these are quick to handle, and one message while they are slow, so that slow work
// is spread over all workers. Without an order, a task of several messages is shared: see
// stealable.

// task is a few messages on their way through a worker. in has the unhandled messages, out the
// output of the handled ones.
type task[T, U any] struct {
	in        []Message[T]
	out       []Message[U]
	done      chan struct{} // ordered: holds a token when out is ready
	used      []Message[T]  // the emptied slice of in
	extra     bool          // made by a worker for output at an alarm or at the end; has no slot
	loose     bool          // keyed: has no slot, and is counted in poolRun.loose
	key       uint64
	tried     int           // keyed: number of tries of its message
	due       time.Time     // keyed: when its next try is due, while parked
	stealable *stealable[T] // unordered: in, while the worker handles it, if it has several messages
}

// pool is a stage with Workers.
type pool[T, U any] struct {
	b      *builder
	n      *node
	st     *stageRun
	mode   mode
	key    keyer[T]
	open   func(*lane, func(Message[U])) func(Message[T])
	to     chain[U]
	in     *edge[T]
	window int
	most   int // the most loose tasks
}

type mode uint8

const (
	ordered mode = iota
	unordered
	keyed
)

// parallel makes the island of a stage with Workers, and returns the chain that leads into it.
func parallel[T, U any](
	b *builder, n *node, key keyer[T], open func(*lane, func(Message[U])) func(Message[T]), to chain[U],
) chain[T] {
	p := &pool[T, U]{b: b, n: n, st: b.run.stages[n], key: key, open: open, to: to}
	switch {
	case key != nil:
		p.mode = keyed
	case n.unordered:
		p.mode = unordered
	}
	p.window = max(4*n.workers, 16)
	for _, src := range b.run.graph.nodes {
		if src.kind == kindSource && reaches(src, n) {
			p.most += src.maxInFlight
		}
	}
	p.in = newEdge[T](b, n, n, edgeDepth)
	b.island(append([]*node{n}, to.nodes...), to.done, p.body)
	way := p.in.sender()
	way.into = p.in
	return way
}

// poolRun is one life of a pool. The channels have room for every task that has a slot, so a
// handover does not block.
type poolRun[T, U any] struct {
	*pool[T, U]
	ctx   context.Context // done if the life ends early
	fail  context.CancelCauseFunc
	slots chan struct{}    // holds a token for each task between feeder and collector
	work  chan *task[T, U] // for the workers
	done  chan *task[T, U] // for the collector; ordered: in order, possibly unfinished; else as tasks finish
	later chan *task[T, U] // keyed: tasks to park
	quit  chan struct{}    // closed when no task will be parked any more
	pace  pace

	mu    sync.Mutex // guards lanes and loose
	lanes map[uint64][]*task[T, U]
	loose int           // unfinished tasks without a slot
	freed chan struct{} // holds a token after loose has decreased

	opened chan struct{}    // closed when the collector accepts output
	free   chan *task[T, U] // tasks to reuse

	stealables []*stealable[T] // owned by the feeder: stealables that may have messages left
	rest       []Message[T]    // owned by the feeder: scratch
	look       time.Time       // when the feeder next checks the stealables

	relieving bool // the feeder is dealing messages taken from stealables
	giving    bool // the feeder gives messages back instead of dealing them

	parked  dueFirst[T, U] // owned by the parker
	waiting *task[T, U]    // owned by the collector: taken from done, not finished
}

// body is one life. It ends when the input has ended and all of it is finished, or when one of the
// parts fails.
func (p *pool[T, U]) body() error {
	s := &poolRun[T, U]{
		pool:  p,
		slots: make(chan struct{}, p.window),
		work:  make(chan *task[T, U], p.window),
		done:  make(chan *task[T, U], p.window),
		later: make(chan *task[T, U], p.window),
		quit:  make(chan struct{}),
		free:  make(chan *task[T, U], p.window),

		opened: make(chan struct{}),
		lanes:  make(map[uint64][]*task[T, U]),
		freed:  make(chan struct{}, 1),
	}
	s.ctx, s.fail = context.WithCancelCause(p.b.run.hard)
	defer s.fail(nil)

	// No input is taken before the downstream part has opened, because it would only have to be
	// given back.
	var workers, parker, collector run.Group
	collector.Go(func() { s.part(s.collect) })
	select {
	case <-s.opened:
	case <-s.ctx.Done():
		close(s.done)
		collector.Wait()
		return s.failure()
	}
	for range p.n.workers {
		workers.Go(func() { s.part(s.worker) })
	}
	parker.Go(func() { s.part(s.park) })
	s.part(s.feed)
	close(s.quit)
	parker.Wait()
	close(s.work)
	workers.Wait()
	close(s.done)
	collector.Wait()
	s.leftovers()
	return s.failure()
}

// failure returns why the life ended early. It returns nil if it did not, or if the whole graph
// ends.
func (s *poolRun[T, U]) failure() error {
	if s.b.run.hard.Err() != nil {
		return nil
	}
	return context.Cause(s.ctx)
}

// part runs one of the parts. Its failure ends the life.
func (s *poolRun[T, U]) part(f func() error) {
	if err := contained(f, func() { s.fail(Permanent(errGoexit)) }); err != nil {
		s.fail(err)
	}
}

// lane makes a lane that is stopped with the life.
func (s *poolRun[T, U]) lane() *lane {
	la := newLane(s.b.run)
	la.ctx = s.ctx
	return la
}

// feed is the feeder. It reads the edge, makes tasks, and ends when all of them are finished.
func (s *poolRun[T, U]) feed() error {
	la := s.lane()
	la.raw = s.in.raw
	if s.in.gives != nil {
		la.drain = s.b.run.reading.Done()
	}
	la.alarms = append(la.alarms, alarm{next: s.lookAt, ring: func() error { s.relieve(la); return nil }})
	return la.live(func() error {
		for {
			s.sweep(la)
			if err := la.ring(); err != nil {
				return err
			}
			chunk, ok, again := receive(la, s.in.ch)
			if again {
				continue
			}
			if !ok || la.aborted {
				giveBack(la, chunk)
				break
			}
			s.deal(la, chunk, s.grain(len(chunk)))
			s.in.stats.worked(len(chunk))
			s.in.recycle(chunk)
			la.dirty.tell()
			if la.aborted {
				break
			}
		}
		s.drained(la)
		return nil
	})
}

// drained waits until no task is in progress, parked or queued. Then all slots are free, and no
// task is loose. If messages in stealables must be dealt again, it releases its slots for that
// time.
func (s *poolRun[T, U]) drained(la *lane) {
	for held := 0; held < s.window; {
		ok, again := s.slot(la)
		switch {
		case again:
			for ; held > 0; held-- {
				<-s.slots
			}
			s.sweep(la)
			s.relieve(la)
		case ok:
			held++
		default:
			return
		}
	}
	s.fewerLoose(la, 1)
}

// fewerLoose waits until fewer than n tasks are loose. It reports false if the life ends first.
func (s *poolRun[T, U]) fewerLoose(la *lane, n int) bool {
	for {
		s.mu.Lock()
		few := s.loose < n
		s.mu.Unlock()
		if few {
			return true
		}
		la.dirty.tell()
		select {
		case <-s.freed:
		case <-la.drain:
			s.sweep(la)
		case <-la.ctx.Done():
			la.aborted = true
			return false
		}
	}
}

// loosen takes the slot from a task that is to be parked or queued. The caller holds mu.
func (s *poolRun[T, U]) loosen(t *task[T, U]) {
	if !t.loose {
		t.loose = true
		s.loose++
		<-s.slots
	}
}

// through frees the place of a finished task.
func (s *poolRun[T, U]) through(loose bool) {
	if !loose {
		<-s.slots
		return
	}
	s.mu.Lock()
	s.loose--
	s.mu.Unlock()
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

// slot takes a slot. It reports again if the stealables must be checked first or the drain begins.
// It reports neither if the life ends before there is a slot.
func (s *poolRun[T, U]) slot(la *lane) (ok, again bool) {
	select {
	case s.slots <- struct{}{}:
		return true, false
	default:
	}
	la.dirty.tell()
	var due <-chan time.Time
	if at := s.lookAt(); !at.IsZero() && !s.relieving {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		due = t.C
	}
	select {
	case s.slots <- struct{}{}:
		return true, false
	case <-due:
		return false, true
	case <-la.drain:
		return false, true
	case <-la.ctx.Done():
		la.aborted = true
		return false, false
	}
}

// taken takes a slot. It reports false if the life ends, or the drain begins, before there is one.
func (s *poolRun[T, U]) taken(la *lane) bool {
	for {
		ok, again := s.slot(la)
		if !again {
			return ok
		}
		if s.sweep(la); s.giving {
			return false
		}
		s.relieve(la)
	}
}

// sweep gives back, once the graph drains, messages that wait for a worker or for their key. Their
// tasks continue empty, to free their slots and keep their turns.
func (s *poolRun[T, U]) sweep(la *lane) {
	if la.drain == nil || s.b.run.reading.Err() == nil {
		return
	}
	la.drain = nil
	s.giving = true
	empty := func(t *task[T, U]) {
		if t.tried == 0 && t.stealable == nil {
			giveBackTo(&la.dirty, t.in, true)
			t.in = nil
		}
	}
	s.mu.Lock()
	for _, queue := range s.lanes {
		for _, t := range queue {
			empty(t)
		}
	}
	s.mu.Unlock()
	var back []*task[T, U]
	for range len(s.work) {
		select {
		case t := <-s.work:
			if t.stealable != nil {
				t.in, t.stealable = t.stealable.takeAll(nil), nil
			}
			empty(t)
			back = append(back, t)
		default:
		}
	}
	la.dirty.tell()
	for _, t := range back {
		select {
		case s.work <- t:
		case <-la.ctx.Done():
			la.aborted = true
			s.giveBack(la, t)
		}
	}
}

// grain returns how many messages of a chunk make a task.
func (s *poolRun[T, U]) grain(chunk int) int {
	switch s.mode {
	case keyed:
		return 1
	case unordered: // stalled work is dealt again to other workers
		return s.pace.grain()
	default: // spread a short chunk over all workers
		return max(1, min(s.pace.grain(), chunk/s.n.workers))
	}
}

// deal cuts a chunk into tasks of up to grain messages and hands them out.
func (s *poolRun[T, U]) deal(la *lane, chunk []Message[T], grain int) {
	for len(chunk) > 0 {
		if s.giving || s.mode == keyed && !s.fewerLoose(la, s.most) || !s.taken(la) {
			giveBack(la, chunk)
			return
		}
		if s.giving {
			<-s.slots
			continue
		}
		n := min(grain, len(chunk))
		t := s.fresh()
		t.in = append(t.in[:0], chunk[:n]...)
		chunk = chunk[n:]
		if n > 1 && s.mode == unordered {
			t.stealable = &stealable[T]{rest: t.in}
			s.watchStealable(t.stealable)
		}
		s.start(la, t)
	}
}

func (s *poolRun[T, U]) fresh() *task[T, U] {
	select {
	case t := <-s.free:
		return t
	default:
		return &task[T, U]{done: make(chan struct{}, 1)}
	}
}

// start hands a task to the workers, or queues it behind its key.
func (s *poolRun[T, U]) start(la *lane, t *task[T, U]) {
	switch s.mode {
	case ordered:
		if !s.send(la, t) {
			return
		}
	case keyed:
		key, ok := keyOf(la, s.st, s.key, t.in[0])
		if !ok {
			<-s.slots
			return
		}
		t.key = key
		s.mu.Lock()
		queue, busy := s.lanes[key]
		if busy {
			s.loosen(t)
			queue = append(queue, t)
		}
		s.lanes[key] = queue
		s.mu.Unlock()
		if busy {
			return
		}
	}
	select {
	case s.work <- t:
	case <-la.ctx.Done():
		la.aborted = true
		s.giveBack(la, t)
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

// next returns the task that waits behind a finished one of its key; nil if there is none.
func (s *poolRun[T, U]) next(key uint64) *task[T, U] {
	s.mu.Lock()
	defer s.mu.Unlock()
	queue := s.lanes[key]
	if len(queue) == 0 {
		delete(s.lanes, key)
		return nil
	}
	s.lanes[key] = queue[1:]
	return queue[0]
}

// park is the parker. It keeps the tasks that wait for their retry, and gives them to the workers
// when they are due. It accepts tasks at any time, so that no worker waits for it.
func (s *poolRun[T, U]) park() error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var work chan *task[T, U]
		var first *task[T, U]
		next := time.Hour
		if len(s.parked) > 0 {
			first = s.parked[0]
			if next = time.Until(first.due); next <= 0 {
				work, next = s.work, time.Hour
			}
		}
		timer.Reset(next)
		select {
		case work <- first:
			heap.Pop(&s.parked)
		case t := <-s.later:
			s.mu.Lock()
			s.loosen(t)
			s.mu.Unlock()
			heap.Push(&s.parked, t)
		case <-s.quit:
			return nil
		case <-timer.C:
		case <-s.ctx.Done():
			return nil
		}
	}
}

// dueFirst is a heap of parked tasks, ordered by due time.
type dueFirst[T, U any] []*task[T, U]

func (d dueFirst[T, U]) Len() int           { return len(d) }
func (d dueFirst[T, U]) Less(i, j int) bool { return d[i].due.Before(d[j].due) }
func (d dueFirst[T, U]) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *dueFirst[T, U]) Push(t any)        { *d = append(*d, t.(*task[T, U])) }

func (d *dueFirst[T, U]) Pop() any {
	last := len(*d) - 1
	t := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return t
}

// leftovers gives back the messages of a life that ended early, after all its parts have ended.
func (s *poolRun[T, U]) leftovers() {
	la := s.lane()
	if s.waiting != nil {
		s.giveBack(la, s.waiting)
	}
	for t := range s.done {
		s.giveBack(la, t)
	}
	for t := range s.work {
		s.giveBack(la, t)
	}
	close(s.later) // no sender is left
	for t := range s.later {
		s.giveBack(la, t)
	}
	for _, t := range s.parked {
		s.giveBack(la, t)
	}
	for _, queue := range s.lanes {
		for _, t := range queue {
			s.giveBack(la, t)
		}
	}
	la.dirty.tell()
}

func (s *poolRun[T, U]) giveBack(la *lane, t *task[T, U]) {
	if t.stealable != nil {
		t.in, t.stealable = t.stealable.takeAll(nil), nil
	}
	giveBackTo(&la.dirty, t.in, s.in.raw && t.tried == 0)
	giveBackTo(&la.dirty, t.out, false)
	t.in, t.out = nil, nil
}
