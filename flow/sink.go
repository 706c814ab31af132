package flow

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Writer is the running part of a sink. NewSink makes a new one for each life of the sink and for
// each of its workers. Optional interfaces: Opener, Flusher, Closer,
// Counter.
type Writer[T any] interface {
	// Write writes a chunk, in order. If it returns nil, all messages are written, and this sink
	// acknowledges each of them. A *WriteError reports which messages are not written. Any other
	// error means that none may be assumed to be written. The fault policy decides on messages that
	// are not written. By default, Write is called again with only these messages. Write must not
	// keep the slice.
	Write(ctx context.Context, chunk []Message[T]) error
}

// WriterFunc is a Writer that is a function.
type WriterFunc[T any] func(ctx context.Context, chunk []Message[T]) error

// Write calls f.
func (f WriterFunc[T]) Write(ctx context.Context, chunk []Message[T]) error { return f(ctx, chunk) }

// Flusher is a Writer with work to do when its input has ended.
type Flusher interface {
	Flush(ctx context.Context) error
}

// Sink is a typed end for a Source. It is a description, and may end several branches.
type Sink[T any] struct {
	name string
	open func() Writer[T]
	opts []StageOption
	made bool
}

// NewSink makes a sink. open returns a Writer. It must do no I/O (see Opener). Options that apply:
// Name, ChunkSize, OnFault, Async, Timeout, Within, Workers with Unordered or KeyedBy (one Writer
// per worker, all writing chunks concurrently). To adds its options to these.
func NewSink[T any](name string, open func() Writer[T], opts ...StageOption) Sink[T] {
	return Sink[T]{name: name, open: open, opts: opts, made: true}
}

// To ends a source with a sink and returns the branch, which is an argument of New.
func To[T any](in Source[T], to Sink[T], opts ...StageOption) Branch {
	name := to.name
	if name == "" {
		name = "sink"
	}
	n := newNode(kindSink, name, 0, append(append([]StageOption{}, to.opts...), opts...))
	reads(n, in)
	if n.within > 0 && n.chunk > 0 {
		n.async = true
		n.Holds, n.HoldsFor = max(n.Holds, n.chunk), n.within
	}
	if to.made {
		n.needs(to.open != nil, "open")
	} else {
		n.issue("", "its sink is the zero Sink", "give To a Sink that a constructor returned")
	}
	key := keyerOf[T](n, "the sink's input type")
	if n.workers > 1 && !n.unordered && n.keyedBy == nil {
		n.issue("Workers", "a sink with several workers cannot keep the order", "add Unordered or KeyedBy")
	}
	return Branch{node: n, link: func(b *builder) {
		end := chain[T]{
			open:  func(la *lane) func([]Message[T]) { return newSinkStage(la, la.run.stages[n], to.open).push },
			done:  func() {},
			nodes: []*node{n},
		}
		switch {
		case n.workers > 1 && key != nil:
			in.out.link(b, keyedLanes(b, n, key, end))
		case n.workers > 1:
			in.out.link(b, sharedLanes(b, n, end))
		case n.async && !in.out.node.endsInEdge():
			in.out.link(b, edgeTo(b, n, end).sender())
		default:
			in.out.link(b, end)
		}
	}}
}

// sinkStage collects chunks for a Writer and settles the written messages.
type sinkStage[T any] struct {
	stageBase
	open    func() Writer[T]
	w       Writer[T]
	buf     []Message[T]
	part    map[*record][]int // of partly written messages: the indexes of their remaining members
	inWrite bool              // a Write is running: a Sleep in it must not write again

	within time.Duration // longest wait for a chunk to fill; 0: no wait
	due    time.Time     // when the first message of buf has waited that long

	whole slab // the chunk being written, as a join: see currentWork
}

func newSinkStage[T any](la *lane, st *stageRun, open func() Writer[T]) *sinkStage[T] {
	s := &sinkStage[T]{open: open, buf: make([]Message[T], 0, st.node.chunk), within: st.node.within}
	s.init(la, st)
	s.whole.cells = make([]cell, 1)
	if s.within > 0 {
		la.alarms = append(la.alarms, alarm{next: s.fullBy, ring: func() error { s.flush(); return nil }})
	}
	la.hooks = append(la.hooks, hook{
		open: s.start,
		flush: func(bool) {
			if s.within > 0 { // the alarm flushes
				s.count()
				return
			}
			s.flush()
		},
		end: s.end,
		drop: func() {
			s.giveBack(s.buf, untouched(st.node))
			s.buf = s.buf[:0]
			s.noHolds()
			s.count()
		},
		close: s.close,
	})
	return s
}

func (s *sinkStage[T]) start() error {
	w := s.open()
	if o, ok := w.(Opener); ok {
		if err := s.guard(o.Open); err != nil {
			s.st.close(s.ctx, w)
			return err
		}
	}
	s.st.extra.begin(w)
	s.w = w
	return nil
}

func (s *sinkStage[T]) push(ms []Message[T]) {
	s.works()
	for len(ms) > 0 && !s.la.aborted {
		n := min(len(ms), s.st.node.chunk-len(s.buf))
		if s.within > 0 && len(s.buf) == 0 {
			s.due = time.Now().Add(s.within)
		}
		s.buf = append(s.buf, ms[:n]...)
		s.in += uint64(n)
		ms = ms[n:]
		if len(s.buf) >= s.st.node.chunk {
			s.write()
		}
	}
	giveBackTo(&s.la.dirty, ms, untouched(s.st.node))
}

// fullBy returns when the chunk is written even if it is not full; the zero time if it is empty.
func (s *sinkStage[T]) fullBy() time.Time {
	if len(s.buf) == 0 {
		return time.Time{}
	}
	return s.due
}

func (s *sinkStage[T]) flush() {
	s.write()
	s.count()
}

// write writes the chunk, and retries failed messages according to the policy, until all of them
// are settled.
func (s *sinkStage[T]) write() {
	if s.inWrite {
		return
	}
	s.inWrite = true
	defer func() { s.inWrite = false }()
	chunk := s.buf
	for tries := 1; len(chunk) > 0; tries++ {
		var err error
		if s.w == nil { // the last reopen failed
			err = s.start()
		}
		if err == nil {
			err = s.try(chunk)
		}
		if err == nil {
			ackAll(&s.la.dirty, chunk)
			s.out += uint64(len(chunk))
			break
		}
		var again []Message[T]
		var wait time.Duration
		again, wait = s.unwritten(chunk, err, tries)
		if len(again) == 0 {
			break
		}
		chunk = again
		s.buf = chunk     // drop gives buf back
		s.la.dirty.tell() // not flush, as sleep does: that would call write again
		if !s.la.pause(s.st, wait) {
			s.giveBack(chunk, false)
			break
		}
		var panicked *PanicError
		if errors.As(err, &panicked) {
			s.reopen()
		}
	}
	full := s.buf[:cap(s.buf)]
	clear(full)
	s.buf = full[:0]
	s.part = nil
}

// try makes one Write, which is interrupted when the leases of the whole chunk are lost.
func (s *sinkStage[T]) try(chunk []Message[T]) error {
	if s.la.run.lanes.leased.Load() {
		s.whole.members = s.whole.members[:0]
		for i := range chunk {
			s.whole.members = append(s.whole.members, chunk[i].lease)
		}
		s.begin(lease{slab: &s.whole})
		defer s.begin(lease{})
	}
	if s.traced.on {
		s.traceChunk(chunk)
	}
	started := s.writes()
	var err error
	if s.st.node.around != nil {
		err = s.writeWrapped(chunk)
	} else {
		err = s.guard(func(ctx context.Context) error { return s.w.Write(ctx, chunk) })
	}
	took := s.wrote(started)
	s.traced.span, s.traced.links = nil, nil
	if s.st.node.chunk > 1 {
		s.st.writing.Store(int64(took))
	}
	s.endCall(err != nil)
	return err
}

// writes is called before the Writer works, and wrote after it.
func (s *sinkStage[T]) writes() time.Time {
	s.st.measured.Store(true)
	began := s.st.writes.begin()
	s.la.haltFor(&s.stageBase, false, began)
	return began
}

func (s *sinkStage[T]) wrote(began time.Time) time.Duration {
	took := s.st.writes.end(began)
	s.la.except(took)
	return took
}

// unwritten settles the messages that a failed Write has settled. It returns those to be retried
// and the longest wait requested.
func (s *sinkStage[T]) unwritten(chunk []Message[T], err error, tries int) (again []Message[T], wait time.Duration) {
	var partial *WriteError
	if errors.As(err, &partial) && len(partial.Errs) != len(chunk) {
		if len(chunk) == 1 && len(partial.Errs) == chunk[0].meta.joined() {
			partial = &WriteError{Errs: []error{partial}} // it concerns the members of the only message
		} else {
			err = fmt.Errorf("flow: sink %q: a WriteError with %s for %s: %w", s.st.name,
				plural(len(partial.Errs), "error"), plural(len(chunk), "message"), err)
			partial = nil
		}
	}
	again = chunk[:0]
	for i := range chunk {
		m, one := chunk[i], err
		if partial != nil {
			one = partial.Errs[i]
		}
		if one == nil {
			s.la.ack(m.lease)
			s.out++
			continue
		}
		var retry bool
		var after time.Duration
		if errs := s.memberErrors(m, one); errs != nil {
			m, retry, after = s.partly(m, errs, tries)
		} else {
			retry, after = s.failed(m.lease, m.meta, one, tries)
		}
		if retry {
			again = append(again, m)
			wait = max(wait, after)
		}
	}
	return again, wait
}

// reopen drops a Writer that panicked, because its state cannot be trusted. The next write opens
// another.
func (s *sinkStage[T]) reopen() {
	s.close()
	s.w = nil
	s.st.restarts.Add(1)
}

func (s *sinkStage[T]) end() error {
	s.flush()
	var err error
	if f, ok := s.w.(Flusher); ok {
		started := s.writes()
		err = s.guard(f.Flush)
		s.wrote(started)
	}
	if err == nil {
		s.endHolds()
	}
	return err
}

func (s *sinkStage[T]) close() {
	s.racing.Wait()
	if s.w != nil {
		s.st.close(s.ctx, s.w)
		s.w = nil
	}
}
