package flow

import (
	"context"
	"reflect"
	"time"
)

// GatherHandler is a Handler with several inputs, for fan-ins that depend on the input of a
// message: by preference, in sequence, sorted, zipped. Optional interfaces: Picker, PortEnder,
// Ender, Alarm.
type GatherHandler[T, U any] interface {
	Handle(ctx context.Context, port int, m Message[T], emit Emit[U]) error
}

// Picker is a GatherHandler that selects the inputs to read next.
type Picker interface {
	// Pick returns the wanted inputs in order of preference. The stage reads the first of them that
	// has a message. If none has a message, it waits for any of them. open reports which inputs
	// have not ended. If all picked inputs have ended, the stage is finished: see Finish for its
	// sources and for the remaining messages of the other inputs, which are dropped if they cannot go
	// back. The slice may be reused.
	Pick(open []bool) []int
}

// PortEnder is a GatherHandler that is notified when one of its inputs ends.
type PortEnder[U any] interface {
	PortEnd(ctx context.Context, port int, emit Emit[U]) error
}

// Gather makes a stage of several inputs of one type. newHandler is called for each life of the
// stage.
func Gather[T, U any](
	name string, ins []Source[T], newHandler func() GatherHandler[T, U], opts ...StageOption,
) Source[U] {
	n := newMerge(name, opts)
	n.pairs = true
	for _, in := range ins {
		reads(n, in)
	}
	n.needsInputs(len(ins))
	n.needs(newHandler != nil, "newHandler")
	return newSource(n, 0, func(b *builder, to chain[U]) {
		edges := gatherIsland(b, n, len(ins), newHandler, to)
		for i, in := range ins {
			in.out.link(b, edges[i].sender())
		}
	})
}

func newMerge(name string, opts []StageOption) *node {
	n := newNode(kindMerge, name, 1, opts)
	n.OneWorker = severalPorts
	return n
}

// PairHandler is a GatherHandler for two inputs of different types, for joins and zips. It has the
// same optional interfaces; port 0 is the left and port 1 the right input.
type PairHandler[A, B, U any] interface {
	Left(ctx context.Context, m Message[A], emit Emit[U]) error
	Right(ctx context.Context, m Message[B], emit Emit[U]) error
}

// Pair makes a stage of two inputs of different types. newHandler is called for each life of the
// stage.
func Pair[A, B, U any](
	name string, left Source[A], right Source[B], newHandler func() PairHandler[A, B, U], opts ...StageOption,
) Source[U] {
	n := newMerge(name, opts)
	n.pairs = true
	reads(n, left)
	reads(n, right)
	n.needs(newHandler != nil, "newHandler")
	return newSource(n, 0, func(b *builder, to chain[U]) {
		adapted := func() GatherHandler[either[A, B], U] { return pairing[A, B, U]{newHandler()} }
		edges := gatherIsland(b, n, 2, adapted, to)
		left.out.link(b, adapt(edges[0].sender(), func(v A) either[A, B] { return either[A, B]{a: v} }))
		right.out.link(b, adapt(edges[1].sender(), func(v B) either[A, B] { return either[A, B]{b: v} }))
	})
}

// either is a value of one of two types. The port tells which.
type either[A, B any] struct {
	a A
	b B
}

func adapt[T, U any](to chain[U], f func(T) U) chain[T] {
	return chain[T]{
		open: func(la *lane) func([]Message[T]) {
			push := to.open(la)
			var out []Message[U]
			return func(ms []Message[T]) {
				for _, m := range ms {
					out = append(out, Derive(m, f(m.Value)))
				}
				push(out)
				clear(out)
				out = out[:0]
			}
		},
		done:  to.done,
		nodes: to.nodes,
	}
}

// pairing adapts a PairHandler to a GatherHandler.
type pairing[A, B, U any] struct{ PairHandler[A, B, U] }

func (p pairing[A, B, U]) Handle(ctx context.Context, port int, m Message[either[A, B]], emit Emit[U]) error {
	if port == 0 {
		return p.Left(ctx, Derive(m, m.Value.a), emit)
	}
	return p.Right(ctx, Derive(m, m.Value.b), emit)
}

func (p pairing[A, B, U]) inner() any { return p.PairHandler }

// optional looks for an optional interface on the user's handler.
func optional[I any](h any) (I, bool) {
	if w, ok := h.(interface{ inner() any }); ok {
		h = w.inner()
	}
	i, ok := h.(I)
	return i, ok
}

// gatherStage runs a GatherHandler. It reads its edges itself.
type gatherStage[T, U any] struct {
	emitting[U]
	h GatherHandler[T, U]

	edges  []*edge[T]
	open   []bool
	chunk  [][]Message[T] // per port: the unhandled part of its current chunk
	whole  [][]Message[T] // per port: the whole chunk, to recycle
	picked []int          // result of wanted, reused
	all    []int          // all ports, rotated so that each is first in turn
	loops  bool           // the last port comes back from this stage, so it cannot end before it
	port   int            // of the current message
	handling[T]
}

func gatherIsland[T, U any](
	b *builder, n *node, ports int, newHandler func() GatherHandler[T, U], to chain[U],
) []*edge[T] {
	edges := make([]*edge[T], ports)
	for i := range edges {
		edges[i] = newEdge[T](b, n, n, edgeDepth)
		edges[i].stats.from = n.ins[i].node
	}
	b.island(append([]*node{n}, to.nodes...), to.done, func() error {
		la := newLane(b.run)
		s := &gatherStage[T, U]{edges: edges}
		s.start(la, b.run.stages[n], to.open(la))
		s.renew = func() { s.h = newHandler() }
		s.hook(func() error { return s.end(s.h) })
		s.alarm(func() any { return s.h })
		s.hookInputs()
		return la.live(s.body)
	})
	return edges
}

// hookInputs sets up the inputs, and the call of the handler.
func (s *gatherStage[T, U]) hookInputs() {
	s.calls(&s.turn, func(ctx context.Context) error { return s.h.Handle(ctx, s.port, s.m, s.emit) })
	n := len(s.edges)
	s.open, s.chunk, s.whole, s.all = make([]bool, n), make([][]Message[T], n), make([][]Message[T], n), make([]int, n)
	for i := range n {
		s.open[i], s.all[i] = true, i
	}
	s.la.hooks = append(s.la.hooks, hook{drop: func() {
		for i := range s.chunk {
			giveBackTo(&s.la.dirty, s.chunk[i], s.edges[i].raw)
			s.chunk[i] = nil
		}
	}})
}

func (s *gatherStage[T, U]) body() error {
	for !s.la.aborted {
		if err := s.la.ring(); err != nil {
			return err
		}
		wanted := s.wanted()
		if len(wanted) == 0 {
			if s.loops {
				return nil
			}
			return s.refuseAll()
		}
		port := s.ready(wanted)
		if port < 0 {
			if port = s.await(wanted); port < 0 {
				continue // an alarm is due, or the lane ends
			}
		}
		if !s.open[port] {
			if err := s.portEnd(port); err != nil {
				return err
			}
			continue
		}
		s.next(port)
	}
	return nil
}

// wanted returns the open ports that the handler wants, in its order.
func (s *gatherStage[T, U]) wanted() []int {
	picks := s.all
	if p, ok := optional[Picker](s.h); ok {
		picks = p.Pick(s.open)
	} else {
		first := s.all[0]
		copy(s.all, s.all[1:])
		s.all[len(s.all)-1] = first
	}
	open := s.picked[:0]
	for _, p := range picks {
		if p >= 0 && p < len(s.open) && s.open[p] {
			open = append(open, p)
			s.st.picked(p)
		}
	}
	s.picked = open
	return open
}

// ready returns the first wanted port that has a message or has just ended. It returns -1 if there
// is no such port.
func (s *gatherStage[T, U]) ready(wanted []int) int {
	for _, p := range wanted {
		if len(s.chunk[p]) > 0 {
			return p
		}
		select {
		case chunk, ok := <-s.edges[p].ch:
			s.received(p, chunk, ok)
			return p
		default:
		}
	}
	return -1
}

// await blocks until one of the wanted ports has a chunk or ends, an alarm is due, or the lane is
// stopped.
func (s *gatherStage[T, U]) await(wanted []int) int {
	s.la.settleStrays()
	s.la.flush(true)
	cases := []reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(s.la.ctx.Done())}}
	for _, p := range wanted {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(s.edges[p].ch)})
	}
	if at := s.la.nextAlarm(); !at.IsZero() {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(t.C)})
	}
	cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(s.la.wake)})
	s.la.rest()
	i, v, ok := reflect.Select(cases)
	s.la.resume()
	switch {
	case i == 0:
		s.la.aborted = true
		return -1
	case i > len(wanted):
		return -1
	}
	var chunk []Message[T]
	if ok {
		chunk = v.Interface().([]Message[T])
	}
	s.received(wanted[i-1], chunk, ok)
	return wanted[i-1]
}

func (s *gatherStage[T, U]) received(port int, chunk []Message[T], ok bool) {
	s.open[port] = ok
	s.chunk[port], s.whole[port] = chunk, chunk
	s.la.beginChunk()
}

// next handles the next message of a port.
func (s *gatherStage[T, U]) next(port int) {
	one := s.chunk[port][:1]
	s.chunk[port] = s.chunk[port][1:]
	s.port = port
	each(&s.stageBase, one, s.one)
	s.la.step(1)
	if len(s.chunk[port]) == 0 {
		e := s.edges[port]
		e.stats.worked(len(s.whole[port]))
		e.recycle(s.whole[port])
		s.chunk[port], s.whole[port] = nil, nil
		s.la.dirty.tell()
	}
}

func (s *gatherStage[T, U]) portEnd(port int) error {
	e, ok := optional[PortEnder[U]](s.h)
	if !ok {
		return nil
	}
	return s.apart(func(ctx context.Context) error { return e.PortEnd(ctx, port, s.emit) })
}

// refuseAll finishes the stage, and refuses the remaining messages of inputs that are no longer
// wanted, until these inputs end.
func (s *gatherStage[T, U]) refuseAll() error {
	s.st.finish()
	s.la.flush(true)
	for p, e := range s.edges {
		s.refuseEach(s.chunk[p])
		s.chunk[p] = nil
		for s.open[p] && !s.la.aborted {
			s.la.dirty.tell()
			began := time.Now()
			s.la.halt(began)
			select {
			case chunk, ok := <-e.ch:
				s.open[p] = ok
				s.refuseEach(chunk)
			case <-s.la.ctx.Done():
				s.la.aborted = true
			}
			s.la.except(time.Since(began))
		}
	}
	return nil
}

func (s *gatherStage[T, U]) refuseEach(chunk []Message[T]) {
	for i := range chunk {
		s.refuse(chunk[i].lease, Dropped)
	}
}

// Merge combines several sources of one type in order of arrival. All inputs share one edge, so
// Merge needs no goroutine of its own and no input can starve another. The order within each input
// is kept. It ends when all inputs have ended.
func Merge[T any](name string, ins []Source[T], opts ...StageOption) Source[T] {
	n := newMerge(name, opts)
	n.Passes = true
	for _, in := range ins {
		reads(n, in)
	}
	n.needsInputs(len(ins))
	return newSource(n, 0, func(b *builder, to chain[T]) {
		e := edgeTo(b, n, chain[T]{
			open:  func(la *lane) func([]Message[T]) { return counted(la, b.run.stages[n], to.open(la)) },
			done:  to.done,
			nodes: append([]*node{n}, to.nodes...),
		})
		for _, in := range ins {
			in.out.link(b, e.sender())
		}
	})
}

func (n *node) needsInputs(have int) {
	if have == 0 {
		n.issue("ins", "it has no inputs", "give it one or more sources")
	}
}

// counted wraps next and counts each message that passes through a stage without a handler.
func counted[T any](la *lane, st *stageRun, next func([]Message[T])) func([]Message[T]) {
	s := &stageBase{}
	s.init(la, st)
	la.hooks = append(la.hooks, hook{
		flush: func(bool) { s.count() },
		end:   func() error { s.count(); return nil },
		drop:  s.count,
	})
	return func(ms []Message[T]) {
		s.in += uint64(len(ms))
		s.works()
		s.out += uint64(len(ms))
		next(ms)
	}
}
