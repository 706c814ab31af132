package flow

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// sinkStage gathers chunks for a Writer and settles what it has written.
type sinkStage[T any] struct {
	stageBase
	open func() Writer[T]
	w    Writer[T]
	buf  []Message[T]

	leases []lease // of the chunk being written
}

func newSinkStage[T any](la *lane, st *stageRun, open func() Writer[T]) *sinkStage[T] {
	s := &sinkStage[T]{open: open, buf: make([]Message[T], 0, st.node.chunk)}
	s.init(la, st)
	la.hooks = append(la.hooks, hook{
		open:  s.start,
		flush: func(bool) { s.flush() },
		end:   s.end,
		drop: func() {
			giveBack(la, s.buf)
			s.buf = s.buf[:0]
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
			closeWriter(s, w)
			return err
		}
	}
	s.w = w
	return nil
}

func (s *sinkStage[T]) push(m Message[T]) {
	s.in++
	s.buf = append(s.buf, m)
	if len(s.buf) >= s.st.node.chunk {
		s.write()
	}
}

func (s *sinkStage[T]) flush() {
	s.write()
	s.count()
}

// write writes the chunk, and again what failed of it, as the policy says, until all of it is settled.
func (s *sinkStage[T]) write() {
	chunk := s.buf
	for tries := 1; len(chunk) > 0; tries++ {
		var err error
		if s.w == nil { // it could not be opened again
			err = s.start()
		}
		if err == nil {
			err = s.try(chunk)
		}
		if err == nil {
			for i := range chunk {
				chunk[i].lease.release(Acked, nil, &s.la.news)
			}
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
		s.buf = chunk    // what drop gives back
		s.la.news.tell() // and not flush, as sleep would: that would come back here
		if !s.la.pause(wait) {
			giveBack(s.la, chunk)
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
}

// try is one Write, which is interrupted when the leases of the whole chunk are lost.
func (s *sinkStage[T]) try(chunk []Message[T]) error {
	if s.la.run.leased.Load() {
		s.leases = s.leases[:0]
		for i := range chunk {
			s.leases = append(s.leases, chunk[i].lease)
		}
		s.la.takeOver(s.leases)
		defer s.la.putBack()
	}
	return s.guard(func(ctx context.Context) error { return s.w.Write(ctx, chunk) })
}

// unwritten settles what a Write has settled, and returns what is to be tried again and the longest wait asked for.
func (s *sinkStage[T]) unwritten(chunk []Message[T], err error, tries int) (again []Message[T], wait time.Duration) {
	var partial *WriteError
	if errors.As(err, &partial) && len(partial.Errs) != len(chunk) {
		err = fmt.Errorf("flow: sink %q: a WriteError with %d entries for a chunk of %d: %w",
			s.st.name, len(partial.Errs), len(chunk), err)
		partial = nil
	}
	again = chunk[:0]
	for i := range chunk {
		one := err
		if partial != nil {
			one = partial.Errs[i]
		}
		if one == nil {
			chunk[i].lease.release(Acked, nil, &s.la.news)
			s.out++
			continue
		}
		if retry, after := s.failed(chunk[i].lease, chunk[i].metaRef(), one, tries); retry {
			again = append(again, chunk[i])
			wait = max(wait, after)
		}
	}
	return again, wait
}

// reopen drops a Writer that panicked, since its state cannot be trusted: the next write opens another.
func (s *sinkStage[T]) reopen() {
	s.close()
	s.w = nil
	s.st.restarts.Add(1)
}

func (s *sinkStage[T]) end() error {
	s.flush()
	if f, ok := s.w.(Flusher); ok {
		return s.guard(f.Flush)
	}
	return nil
}

func (s *sinkStage[T]) close() {
	if s.w != nil {
		closeWriter(s, s.w)
		s.w = nil
	}
}

func closeWriter[T any](s *sinkStage[T], w Writer[T]) {
	c, ok := w.(Closer)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.la.run.graph.ackTimeout)
	defer cancel()
	if err := guard(ctx, c.Close); err != nil {
		s.la.run.log.Warn("closing the sink failed", "stage", s.st.name, "error", err)
	}
}
