package flow

import (
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
