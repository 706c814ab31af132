package flow

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// Tap passes messages on and offers a copy of each to a sink that must not matter: it neither slows
// nor fails the other messages. The copies hold no share of their entries. If the sink lags behind by
// two chunks, further copies are dropped. If it cannot be opened or fails, its messages are dropped,
// and it is opened again after a second. When the input has ended, the sink has AckTimeout to finish
// before its context is cancelled. StageSnapshot.Counts has the numbers: tap_dropped at this stage,
// and tap_failed at the sink.
//
// The branch ends in the sink. The options are those of the stage that copies; OnFault has no effect,
// also not on the sink.
func Tap[T any](in Source[T], name string, to Sink[T], opts ...StageOption) (Source[T], Branch) {
	n := newNode(kindRoute, name, 2, opts)
	reads(n, in)
	n.OneWorker, n.Passes = severalPorts, true
	outlet := func(port, depth int) Source[T] {
		return newSource(n, port, func(b *builder, next chain[T]) {
			if b.ends[n] == nil {
				b.ends[n] = make([]boundary, 2)
			}
			e := newEdge[T](b, n, next.nodes[0], depth)
			readEdge(b, e, next)
			b.ends[n][port] = e
			if !slices.Contains(b.ends[n], nil) {
				in.out.link(b, tapChain(n, b, b.ends[n][0].(*edge[T]), b.ends[n][1].(*edge[T])))
			}
		})
	}
	if to.made && to.open != nil {
		open := to.open
		to.open = func() Writer[T] { return &spare[T]{tap: n, open: open} }
	}
	return outlet(0, edgeDepth), To(outlet(1, edgeDepth+1), to, OnFault(Drop))
}

// tapStage copies messages to an edge on which it never waits.
type tapStage[T any] struct {
	stageBase
	main    *port[T]
	side    *edge[T]
	buf     []Message[T]
	dropped atomic.Uint64
}

func tapChain[T any](n *node, b *builder, main, side *edge[T]) chain[T] {
	main.senders.Add(1)
	side.senders.Add(1)
	st := b.run.stages[n]
	over, cancel := context.WithCancel(b.run.hard)
	st.over = over
	return chain[T]{
		open: func(la *lane) func([]Message[T]) {
			s := &tapStage[T]{main: main.attach(la), side: side}
			s.init(la, st)
			s.la.hooks = append(s.la.hooks, hook{
				open: func() error {
					st.extra.begin(s)
					return nil
				},
				flush: func(bool) { s.offer(); s.count() },
				end:   func() error { s.last(); s.count(); return nil },
				drop:  s.count,
				close: func() { st.extra.end(s) },
			})
			return s.push
		},
		done: func() {
			main.left()
			side.left()
			time.AfterFunc(b.run.graph.ackTimeout, cancel)
		},
		nodes: []*node{n},
	}
}

// Counts implements Counter.
func (s *tapStage[T]) Counts(add func(string, uint64)) { add("tap_dropped", s.dropped.Load()) }

func (s *tapStage[T]) push(ms []Message[T]) {
	s.in += uint64(len(ms))
	s.works()
	for i := range ms {
		if len(s.buf) == s.side.size && !s.offer() {
			s.dropped.Add(uint64(len(ms) - i))
			break
		}
		if s.buf == nil {
			s.buf = s.side.fresh()
		}
		s.buf = append(s.buf, Message[T]{Value: ms[i].Value, meta: ms[i].meta})
	}
	s.out += uint64(len(ms))
	s.main.push(ms)
}

// offer passes the copies on if the edge has room. One place remains for the last chunk, so that the
// end does not wait either. This stage is the only sender.
func (s *tapStage[T]) offer() bool {
	if len(s.side.ch) >= cap(s.side.ch)-1 {
		return false
	}
	s.last()
	return true
}

func (s *tapStage[T]) last() {
	if len(s.buf) == 0 {
		return
	}
	select {
	case s.side.ch <- s.buf:
		s.side.stats.sent(len(s.buf))
	default: // an earlier life of the stage has used the last place
		s.dropped.Add(uint64(len(s.buf)))
	}
	s.buf = nil
}

// spare is a Writer that never fails and never panics. It opens the Writer behind it when there is
// something to write.
type spare[T any] struct {
	tap    *node // the stage with the copies
	open   func() Writer[T]
	w      Writer[T] // nil: not open
	again  time.Time // when to open it again
	failed atomic.Uint64
	inner  counters
}

// reopenAfter is how long a tap waits until it opens a sink that has failed.
const reopenAfter = time.Second

func (s *spare[T]) Write(ctx context.Context, chunk []Message[T]) error {
	err := s.opened(ctx)
	if err == nil {
		err = s.call(ctx, func(ctx context.Context) error { return s.w.Write(ctx, chunk) })
	}
	if err == nil {
		return nil
	}
	lost := len(chunk)
	var partial *WriteError
	if errors.As(err, &partial) && len(partial.Errs) == len(chunk) {
		lost = 0
		for _, one := range partial.Errs {
			if one != nil {
				lost++
			}
		}
	}
	s.failed.Add(uint64(lost))
	Logger(ctx).Warn("tap failed, its messages are dropped", "stage", StageName(ctx), "messages", lost, "error", err)
	return nil
}

var errTapClosed = errors.New("flow: the sink of a tap has failed, and is not open yet")

// opened opens the Writer if it is not open.
func (s *spare[T]) opened(ctx context.Context) error {
	if s.w != nil {
		return nil
	}
	if time.Now().Before(s.again) {
		return errTapClosed
	}
	s.again = time.Now().Add(reopenAfter)
	return s.call(ctx, func(ctx context.Context) error {
		s.w = s.open()
		if o, ok := s.w.(Opener); ok {
			if err := o.Open(ctx); err != nil {
				s.shut(ctx)
				return err
			}
		}
		s.inner.begin(s.w)
		return nil
	})
}

// call calls the Writer with a context that is done some time after the end of the tap's input. After
// a panic it drops the Writer.
func (s *spare[T]) call(ctx context.Context, f func(context.Context) error) error {
	if st := stageOf(ctx); st != nil {
		limited, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(st.la.run.stages[s.tap].over, cancel)()
		ctx = limited
	}
	err := guard(ctx, f)
	var panicked *PanicError
	if errors.As(err, &panicked) {
		s.shut(ctx)
	}
	return err
}

// shut closes the Writer.
func (s *spare[T]) shut(ctx context.Context) {
	w := s.w
	s.w = nil
	s.inner.end(w)
	if c, ok := w.(Closer); ok {
		if err := guard(ctx, c.Close); err != nil {
			Logger(ctx).Warn("closing the sink of a tap failed", "stage", StageName(ctx), "error", err)
		}
	}
}

func (s *spare[T]) Flush(ctx context.Context) error {
	f, ok := s.w.(Flusher)
	if !ok {
		return nil
	}
	if err := s.call(ctx, f.Flush); err != nil {
		Logger(ctx).Warn("flushing the sink of a tap failed", "stage", StageName(ctx), "error", err)
	}
	return nil
}

func (s *spare[T]) Close(ctx context.Context) error {
	if s.w != nil {
		s.shut(ctx)
	}
	return nil
}

// Counts implements Counter.
func (s *spare[T]) Counts(add func(string, uint64)) {
	add("tap_failed", s.failed.Load())
	for name, n := range s.inner.sum() {
		add(name, n)
	}
}
