package flow

import (
	"fmt"
	"sync/atomic"
	"time"
)

// edge carries chunks between goroutines: a bounded channel, and a second channel that returns
// empty chunks. The last sender closes it.
type edge[T any] struct {
	ch      chan []Message[T]
	empty   chan []Message[T]
	size    int
	senders atomic.Int32
	stats   *edgeStats
	lending[T]
	puller atomic.Pointer[lane] // the lane of a Puller, which is woken when the edge is emptied; may be nil

	deal  func(*lane, []Message[T]) // passes a chunk of a source to workers at once; nil: the edge is read
	over  func()                    // is called after the last sender; may be nil
	raw   bool                      // no handler has begun the messages it carries
	gives bool                      // a drain gives back the messages that its lanes have not begun
}

// edgeDepth is how many chunks an edge holds, in addition to the one being filled and the one being
// processed.
const edgeDepth = 2

// edgeStats are the counters of an edge for snapshots. They are updated once per chunk.
type edgeStats struct {
	from, to *node
	size     int
	fill     func() int // chunks waiting
	messages atomic.Uint64
	chunks   atomic.Uint64
	blocked  waits // time senders waited for room
	done     atomic.Uint64
}

func (s *edgeStats) sent(n int) {
	s.messages.Add(uint64(n))
	s.chunks.Add(1)
}

func (s *edgeStats) worked(n int) { s.done.Add(uint64(n)) }

// newEdge makes an edge at a boundary of stage n that leads into to. Its chunks have the size of n.
func newEdge[T any](b *builder, n, to *node, depth int) *edge[T] {
	e := &edge[T]{
		ch:    make(chan []Message[T], depth),
		empty: make(chan []Message[T], depth+2),
		size:  n.chunk,
		stats: &edgeStats{from: n, to: to, size: depth},
	}
	if n == to && len(n.ins) > 0 {
		e.stats.from = n.ins[0].node
	}
	e.stats.fill = func() int { return len(e.ch) }
	e.raw = untouched(to)
	if n == to || n.workers == 1 { // else it is a part of the stage
		b.run.edges = append(b.run.edges, e.stats)
	}
	b.leftover(e.giveBack)
	if e.gives = e.raw && to.givesBack(); e.gives {
		b.sweep(e.giveBack)
	}
	return e
}

// giveBack empties the edge and gives its messages back.
func (e *edge[T]) giveBack(dirty *dirtySessions) {
	for {
		select {
		case chunk, ok := <-e.ch:
			if !ok {
				return
			}
			giveBackTo(dirty, chunk, e.raw)
			e.stats.worked(len(chunk))
		default:
			return
		}
	}
}

// edgeTo makes an edge at a boundary of n, and an island that reads it and runs to.
func edgeTo[T any](b *builder, n *node, to chain[T]) *edge[T] {
	e := newEdge[T](b, n, to.nodes[0], edgeDepth)
	readEdge(b, e, to)
	return e
}

// readEdge makes an island that reads the edge and runs to.
func readEdge[T any](b *builder, e *edge[T], to chain[T]) {
	b.island(to.nodes, to.done, func() error {
		la := newLane(b.run)
		la.raw = e.raw
		push := to.open(la)
		r := &reading[T]{edge: e, la: la}
		r.pushAll = func(chunk []Message[T]) {
			pushAll(la, chunk, push)
			e.stats.worked(len(chunk))
		}
		if e.gives {
			r.pushAll = inGrains(la, e.stats, push)
		}
		e.reader.Store(r)
		return la.live(r.consume)
	})
}

// sender returns a chain that ends in the edge. Each call adds one sender.
func (e *edge[T]) sender() chain[T] {
	e.senders.Add(1)
	return chain[T]{
		open:  func(la *lane) func([]Message[T]) { return e.attach(la).push },
		done:  e.left,
		nodes: []*node{e.stats.to},
	}
}

// left is called once by each sender when it ends.
func (e *edge[T]) left() {
	if e.senders.Add(-1) == 0 {
		close(e.ch)
		if e.over != nil {
			e.over()
		}
	}
}

// port is the sending end of an edge in one lane.
type port[T any] struct {
	la  *lane
	e   *edge[T]
	buf []Message[T]
}

func (e *edge[T]) attach(la *lane) *port[T] {
	p := &port[T]{la: la, e: e}
	la.hooks = append(la.hooks, hook{
		flush: p.flush,
		end:   func() error { p.flush(true); return nil },
		drop: func() {
			giveBackTo(&la.dirty, p.buf, e.raw)
			p.buf = nil
		},
	})
	return p
}

func (p *port[T]) push(ms []Message[T]) {
	for len(ms) > 0 {
		n := min(len(ms), p.e.size-len(p.buf))
		if p.buf == nil {
			p.buf = p.e.fresh()
		}
		p.buf = append(p.buf, ms[:n]...)
		ms = ms[n:]
		if len(p.buf) >= p.e.size {
			p.flush(true)
		}
	}
}

// pushOne is push for one message.
func (p *port[T]) pushOne(m Message[T]) {
	if p.buf == nil {
		p.buf = p.e.fresh()
	}
	if p.buf = append(p.buf, m); len(p.buf) >= p.e.size {
		p.flush(true)
	}
}

func (p *port[T]) flush(block bool) {
	if len(p.buf) == 0 {
		return
	}
	if p.e.send(p.la, p.buf, block, nil) {
		p.buf = nil
	}
}

// free reports whether the edge has room for a chunk now.
func (p *port[T]) free() bool { return len(p.e.ch) < cap(p.e.ch) }

// idle reports whether no chunk waits in the edge. The lane is woken when that becomes true.
func (p *port[T]) idle(la *lane) bool {
	if p.e.puller.Load() != la {
		p.e.puller.Store(la)
	}
	return len(p.e.ch) == 0
}

// send sends a chunk and passes ownership to the receiver. It reports false if the edge was full;
// then the caller still owns the chunk. This happens only if block is false. If the lane is stopped
// or drain is closed while send blocks, the chunk is given back.
func (e *edge[T]) send(la *lane, chunk []Message[T], block bool, drain <-chan struct{}) bool {
	n := len(chunk)
	select {
	case e.ch <- chunk:
	default:
		if !block {
			return false
		}
		la.dirty.tell() // settlements must not wait while we block
		began := e.stats.blocked.begin()
		la.halt(began)
		var stalled <-chan time.Time
		if la.maxBlocked > 0 {
			timer := time.NewTimer(la.maxBlocked)
			defer timer.Stop()
			stalled = timer.C
		}
		select {
		case e.ch <- chunk:
			chunk = nil
		case <-la.ctx.Done():
			la.aborted = true
		case <-stalled:
			la.fail(la.tooLong())
		case <-drain:
		}
		la.except(e.stats.blocked.end(began))
		if chunk != nil {
			giveBackTo(&la.dirty, chunk, e.raw)
			return true
		}
	}
	e.stats.sent(n)
	return true
}

// tooLong is the failure of a lane that has waited longer than its stage allows.
func (la *lane) tooLong() error {
	return Permanent(fmt.Errorf("stage %q: %w: no room behind it for %v", la.impatient.name, ErrStalled, la.maxBlocked))
}

// pass passes on a chunk of a source: to the workers behind the edge, to the lane behind it if that is
// idle, or through the edge.
func (e *edge[T]) pass(la *lane, chunk []Message[T], drain <-chan struct{}) {
	switch {
	case e.deal != nil:
		e.stats.sent(len(chunk))
		e.deal(la, chunk)
	case !e.lend(la, chunk):
		e.send(la, chunk, true, drain)
	}
}

// freshChunk is the room of a new chunk. It grows with what it carries: chunks of many workers are
// small, and there are more of them than the edge keeps.
const freshChunk = 16

func (e *edge[T]) fresh() []Message[T] {
	select {
	case buf := <-e.empty:
		return buf
	default:
		return make([]Message[T], 0, min(e.size, freshChunk))
	}
}

// recycle takes an emptied chunk back.
func (e *edge[T]) recycle(chunk []Message[T]) {
	clear(chunk)
	select {
	case e.empty <- chunk[:0]:
	default:
	}
}

// lending is the part of an edge about a source that handles chunks itself.
type lending[T any] struct {
	reader atomic.Pointer[reading[T]] // the last life of a lane that reads the edge
	taken  atomic.Uint64              // chunks that left the edge
}

// reading is one life of a lane that reads an edge.
type reading[T any] struct {
	*edge[T]
	la      *lane
	pushAll func([]Message[T])
}

// consume is the body of the lane. It handles each chunk until the edge is closed.
func (r *reading[T]) consume() error {
	la := r.la
	for !la.aborted {
		if err := la.ring(); err != nil {
			return err
		}
		chunk, ok, again := receive(la, r.ch)
		if again {
			continue
		}
		r.taken.Add(1)
		if puller := r.puller.Load(); puller != nil {
			wake(puller.wake)
		}
		if !ok || la.aborted {
			giveBack(la, chunk)
			return nil
		}
		r.handle(chunk)
	}
	return nil
}

func (r *reading[T]) handle(chunk []Message[T]) {
	r.la.fresh = true
	r.pushAll(chunk)
	r.recycle(chunk)
	r.la.dirty.tell()
}

// lend handles a chunk in the lane behind the edge, on the goroutine of the source. The source's own
// lane is from. It reports false if the chunk must be sent.
func (e *edge[T]) lend(from *lane, chunk []Message[T]) bool {
	if !e.gives || len(chunk) > lendMost || e.stats.chunks.Load() != e.taken.Load() {
		return false
	}
	r := e.reader.Load()
	if r == nil || !r.la.borrow() {
		return false
	}
	e.stats.sent(len(chunk))
	e.taken.Add(1)
	r.borrowed(chunk)
	from.aborted = from.ctx.Err() != nil // the graph may have closed the Reader meanwhile
	return true
}

// borrowed handles a chunk with the token of the lane, and puts that back.
func (r *reading[T]) borrowed(chunk []Message[T]) {
	la := r.la
	la.resumed()
	sooner := false
	defer func() {
		rings := sooner || la.aborted
		if la.rest(); rings {
			wake(la.wake)
		}
	}()
	err := contained(func() error {
		if r.handle(chunk); !la.aborted {
			la.settleStrays()
			la.flush(true)
			at := la.nextAlarm()
			sooner = !at.IsZero() && (la.due.IsZero() || at.Before(la.due))
		}
		return nil
	}, func() {
		la.aborted = true
		la.run.stages[r.stats.to].fail(errGoexit)
	})
	if err != nil {
		la.fail(err)
	}
}
