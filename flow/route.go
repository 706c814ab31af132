package flow

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"
)

// AnyPort, passed to a RouteFunc's emit, sends the message to an output that has room, in rotation.
// If none has room, the message waits for the first that has.
const AnyPort = -1

const severalPorts = "it has several outputs or inputs; put the work into a separate stage before or after it"

// RouteEmit passes a message on to one output, or to AnyPort. It may be called only during the call
// that received it, and only by the goroutine of that call.
type RouteEmit[U any] func(port int, m Message[U])

// RouteHandler is a Handler with several outputs of one type. Optional interfaces: RouteAlarm,
// RouteEnder, Puller.
type RouteHandler[T, U any] interface {
	Handle(ctx context.Context, m Message[T], emit RouteEmit[U]) error
}

// RouteAlarm is a RouteHandler with a timer. It works like Alarm.
type RouteAlarm[U any] interface {
	Next() time.Time
	Ring(ctx context.Context, emit RouteEmit[U]) error
}

// RouteEnder is a RouteHandler that emits the messages it holds when its input has ended. It works
// like Ender.
type RouteEnder[U any] interface {
	End(ctx context.Context, emit RouteEmit[U]) error
}

// Puller is a RouteHandler that keeps messages until an output has room, as buffers do. So a slow
// output does not stop it from receiving. Make its stage Async, so that a slow stage before it does
// not delay its outputs.
type Puller[U any] interface {
	// Waiting reports whether there is a message for an output. It is called often and must be quick.
	Waiting(port int) bool
	// Pull is called when Waiting is true and the output has room, which is when no chunk waits for
	// the stage behind it. It may emit one message, to this output. An error or a panic is a failure
	// of the stage.
	Pull(ctx context.Context, port int, emit RouteEmit[U]) error
}

// RouteFunc selects the outputs of a message: emit sends it to one output. emit may be called for
// none, one, some or all of them. Otherwise RouteFunc works like a Handler. A port that does not
// exist is an error of the message.
type RouteFunc[T, U any] func(ctx context.Context, m Message[T], emit func(port int, m Message[U])) error

// Handle calls f.
func (f RouteFunc[T, U]) Handle(ctx context.Context, m Message[T], emit RouteEmit[U]) error {
	return f(ctx, m, emit)
}

// Route makes a stage with n outputs of one type, for fan-out, partition and balance. Each output
// has its own edge. newHandler is called for each life of the stage. A stage with several outputs
// runs on one goroutine: it accepts no Workers.
func Route[T, U any](
	in Source[T], name string, n int, newHandler func() RouteFunc[T, U], opts ...StageOption,
) []Source[U] {
	if newHandler == nil {
		return RouteVia[T, U](in, name, n, nil, opts...)
	}
	return RouteVia(in, name, n, func() RouteHandler[T, U] { return newHandler() }, opts...)
}

// RouteVia is Route for a RouteHandler, which may have a timer and may emit at the end. The timer
// fires between two messages, also if no message arrives. With Async, a slow stage before it does
// not delay the timer.
func RouteVia[T, U any](
	in Source[T], name string, n int, newHandler func() RouteHandler[T, U], opts ...StageOption,
) []Source[U] {
	nd := newNode(kindRoute, name, max(n, 0), opts)
	reads(nd, in)
	nd.needs(newHandler != nil, "newHandler")
	nd.OneWorker = severalPorts
	if n < 1 {
		nd.issue("n", fmt.Sprintf("%d outputs", n), "ask for 1 or more")
		n = 1 // so that the caller can index the result until Validate
	}
	outs := make([]Source[U], n)
	for i := range outs {
		outs[i] = newOutlet[U](nd, i, n, func(b *builder, ends []boundary) {
			to := make([]*edge[U], n)
			for i := range to {
				to[i] = ends[i].(*edge[U])
			}
			linkTo(b, in, nd, routeChain(nd, b, newHandler, to))
		})
	}
	return outs
}

// boundary is an edge of any type.
type boundary interface{ left() }

// newOutlet makes the i-th of n outputs. link is called with the edges of all outputs, after the last
// of them is linked.
func newOutlet[U any](nd *node, i, n int, link func(*builder, []boundary)) Source[U] {
	return newSource(nd, i, func(b *builder, to chain[U]) {
		if b.ends[nd] == nil {
			b.ends[nd] = make([]boundary, n)
		}
		b.ends[nd][i] = edgeTo(b, nd, to)
		if !slices.Contains(b.ends[nd], nil) {
			link(b, b.ends[nd])
		}
	})
}

// routeStage runs a RouteHandler.
type routeStage[T, U any] struct {
	turn
	h       RouteHandler[T, U]
	puller  Puller[U] // h, if it is a Puller
	ports   []*port[U]
	buf     []routed[U]
	emit    RouteEmit[U]
	turns   int // next output for AnyPort
	pulled  int // output of the current Pull
	each    func(Message[T])
	pullOne func(context.Context) error
	bad     error // the call used a port that does not exist
	handling[T]
}

type routed[U any] struct {
	port int
	m    Message[U]
}

func routeChain[T, U any](nd *node, b *builder, newHandler func() RouteHandler[T, U], to []*edge[U]) chain[T] {
	for _, e := range to {
		e.senders.Add(1)
	}
	return chain[T]{
		open: func(la *lane) func([]Message[T]) {
			s := &routeStage[T, U]{}
			for _, e := range to {
				s.ports = append(s.ports, e.attach(la))
			}
			s.init(la, b.run.stages[nd])
			s.renew = func() {
				s.h, s.bad = newHandler(), nil
				s.puller, _ = s.h.(Puller[U])
			}
			s.outputs, s.emit = []buffer{s}, s.route
			s.calls(&s.turn, func(ctx context.Context) error { return s.valid(s.h.Handle(ctx, s.m, s.emit)) })
			s.each = s.oneOf
			s.pullOne = func(ctx context.Context) error { return s.valid(s.puller.Pull(ctx, s.pulled, s.emit)) }
			s.hook(s.end)
			s.rings(func() alarmed { return find[RouteAlarm[U]](s.h) }, s.ring)
			la.alarms = append(la.alarms, alarm{next: s.pullable, ring: s.pull})
			return s.push
		},
		done: func() {
			for _, e := range to {
				e.left()
			}
		},
		nodes: []*node{nd},
	}
}

func (s *routeStage[T, U]) push(ms []Message[T]) {
	each(&s.stageBase, ms, s.each)
}

func (s *routeStage[T, U]) oneOf(m Message[T]) {
	if err := s.pull(); err != nil {
		s.la.fail(err)
		giveBackTo(&s.la.dirty, []Message[T]{m}, untouched(s.st.node))
		return
	}
	s.one(m)
}

// valid returns the error of a call, or the mistake that the call made.
func (s *routeStage[T, U]) valid(err error) error {
	bad := s.bad
	s.bad = nil
	if err == nil {
		err = bad
	}
	return err
}

func (s *routeStage[T, U]) ring(ctx context.Context) error {
	return s.valid(s.h.(RouteAlarm[U]).Ring(ctx, s.emit))
}

func (s *routeStage[T, U]) end() error {
	e, ok := s.h.(RouteEnder[U])
	if !ok {
		return nil
	}
	return s.apart(func(ctx context.Context) error { return s.valid(e.End(ctx, s.emit)) })
}

func (s *routeStage[T, U]) route(port int, m Message[U]) {
	if port != AnyPort && (port < 0 || port >= len(s.ports)) {
		s.bad = fmt.Errorf("flow: there is no output %d, only 0 to %d", port, len(s.ports)-1)
		return
	}
	m.lease = s.emitted(m.lease)
	if s.buf = append(s.buf, routed[U]{port, m}); len(s.buf) >= defaultChunk {
		s.forward(true)
	}
}

func (s *routeStage[T, U]) pushAll() {
	for i := range s.buf {
		if r := &s.buf[i]; r.port == AnyPort {
			s.pushAny(r.m)
		} else {
			s.ports[r.port].pushOne(r.m)
		}
	}
	s.clear()
}

func (s *routeStage[T, U]) clear() {
	clear(s.buf)
	s.buf = s.buf[:0]
}

// pushAny pushes to the next output in rotation that has room for a chunk. If none has, it waits
// for the first that has.
func (s *routeStage[T, U]) pushAny(m Message[U]) {
	n := len(s.ports)
	for i := range n {
		at := (s.turns + i) % n
		if s.ports[at].free() {
			s.turns = at + 1
			s.ports[at].pushOne(m)
			return
		}
	}
	s.la.dirty.tell()
	cases := []reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(s.la.ctx.Done())}}
	chunks := make([][]Message[U], n)
	for i, p := range s.ports {
		chunks[i] = append(append(p.e.fresh(), p.buf...), m)
		cases = append(cases, reflect.SelectCase{
			Dir: reflect.SelectSend, Chan: reflect.ValueOf(p.e.ch), Send: reflect.ValueOf(chunks[i]),
		})
	}
	began := time.Now()
	s.la.halt(began)
	at, _, _ := reflect.Select(cases)
	waited := time.Since(began)
	s.la.except(waited)
	if at == 0 {
		s.la.aborted = true
		s.la.nack(m.lease)
		return
	}
	s.turns = at
	p := s.ports[at-1]
	p.buf = p.buf[:0]
	p.e.stats.blocked.add(waited)
	p.e.stats.sent(len(chunks[at-1]))
}

// pullable returns the past if a Puller has a message for an output that has room.
func (s *routeStage[T, U]) pullable() (at time.Time) {
	if s.puller != nil {
		for i, out := range s.ports {
			if out.idle(s.la) && s.puller.Waiting(i) {
				return time.Unix(0, 0)
			}
		}
	}
	return at
}

// pull lets a Puller emit to the outputs that have room.
func (s *routeStage[T, U]) pull() error {
	if s.puller == nil {
		return nil
	}
	for i, out := range s.ports {
		for !s.la.aborted && out.idle(s.la) && s.puller.Waiting(i) {
			s.pulled = i
			if err := s.apart(s.pullOne); err != nil {
				return err
			}
		}
	}
	return nil
}

// ForkFunc is a RouteFunc for two outputs of different types.
type ForkFunc[T, A, B any] func(ctx context.Context, m Message[T], a Emit[A], b Emit[B]) error

// Handle calls f.
func (f ForkFunc[T, A, B]) Handle(ctx context.Context, m Message[T], a Emit[A], b Emit[B]) error {
	return f(ctx, m, a, b)
}

// ForkHandler is a Handler with two outputs of different types. Optional interfaces: ForkAlarm,
// ForkEnder.
type ForkHandler[T, A, B any] interface {
	Handle(ctx context.Context, m Message[T], a Emit[A], b Emit[B]) error
}

// ForkAlarm is a ForkHandler with a timer. It works like Alarm.
type ForkAlarm[A, B any] interface {
	Next() time.Time
	Ring(ctx context.Context, a Emit[A], b Emit[B]) error
}

// ForkEnder is a ForkHandler that emits the messages it holds when its input has ended. It works
// like Ender.
type ForkEnder[A, B any] interface {
	End(ctx context.Context, a Emit[A], b Emit[B]) error
}

// Fork makes a stage with two outputs of different types, such as an operator that splits successes
// from failures, or one case from the rest. Otherwise it works like Route.
func Fork[T, A, B any](
	in Source[T], name string, newHandler func() ForkFunc[T, A, B], opts ...StageOption,
) (Source[A], Source[B]) {
	if newHandler == nil {
		return ForkVia[T, A, B](in, name, nil, opts...)
	}
	return ForkVia(in, name, func() ForkHandler[T, A, B] { return newHandler() }, opts...)
}

// ForkVia is Fork for a ForkHandler, which may have a timer and may emit at the end. The timer
// fires between two messages, also if no message arrives. With Async, a slow stage before it does
// not delay the timer.
func ForkVia[T, A, B any](
	in Source[T], name string, newHandler func() ForkHandler[T, A, B], opts ...StageOption,
) (Source[A], Source[B]) {
	nd := newNode(kindRoute, name, 2, opts)
	reads(nd, in)
	nd.needs(newHandler != nil, "newHandler")
	nd.OneWorker = severalPorts
	link := func(b *builder, ends []boundary) {
		linkTo(b, in, nd, forkChain(nd, b, newHandler, ends[0].(*edge[A]), ends[1].(*edge[B])))
	}
	return newOutlet[A](nd, 0, 2, link), newOutlet[B](nd, 1, 2, link)
}

// forkStage runs a ForkHandler.
type forkStage[T, A, B any] struct {
	turn
	h     ForkHandler[T, A, B]
	emitA Emit[A]
	emitB Emit[B]
	handling[T]
}

func forkChain[T, A, B any](
	nd *node, b *builder, newHandler func() ForkHandler[T, A, B], ea *edge[A], eb *edge[B],
) chain[T] {
	ea.senders.Add(1)
	eb.senders.Add(1)
	return chain[T]{
		open: func(la *lane) func([]Message[T]) {
			s := &forkStage[T, A, B]{}
			a, z := ea.attach(la), eb.attach(la)
			s.init(la, b.run.stages[nd])
			s.renew = func() { s.h = newHandler() }
			s.calls(&s.turn, func(ctx context.Context) error { return s.h.Handle(ctx, s.m, s.emitA, s.emitB) })
			s.emitA, s.emitB = emitTo(&s.turn, a.push), emitTo(&s.turn, z.push)
			s.hook(s.end)
			s.rings(func() alarmed { return find[ForkAlarm[A, B]](s.h) }, s.ring)
			return s.push
		},
		done: func() {
			ea.left()
			eb.left()
		},
		nodes: []*node{nd},
	}
}

func (s *forkStage[T, A, B]) push(ms []Message[T]) {
	each(&s.stageBase, ms, s.one)
}

func (s *forkStage[T, A, B]) ring(ctx context.Context) error {
	return s.h.(ForkAlarm[A, B]).Ring(ctx, s.emitA, s.emitB)
}

func (s *forkStage[T, A, B]) end() error {
	e, ok := s.h.(ForkEnder[A, B])
	if !ok {
		return nil
	}
	return s.apart(func(ctx context.Context) error { return e.End(ctx, s.emitA, s.emitB) })
}
