package flow

import (
	"context"
	"io"
	"time"
)

// intake is one life of a source's reading. It is the same for a source with an edge and for an
// inline source.
type intake[T any] struct {
	s   *sourceRun
	r   Reader[T]
	ses *session
	la  *lane // the lane that gives leases back

	ended bool // the source has ended
}

func openIntake[T any](s *sourceRun, r Reader[T], la *lane) (*intake[T], error) {
	in := &intake[T]{s: s, r: r, ses: s.begin(r), la: la}
	if o, ok := r.(Opener); ok {
		if err := guard(s.run.reading, o.Open); err != nil {
			in.ses.end()
			return nil, err
		}
	}
	s.opened.Store(true)
	return in, nil
}

// next reads a chunk into buf. more is false if it was the last.
func (in *intake[T]) next(buf []Message[T], room, bytes int) (chunk []Message[T], more bool, err error) {
	ctx := in.s.run.reading
	got := &Intake[T]{msgs: buf, room: room, bytes: bytes, seq: in.ses.next}
	err = guard(ctx, func(ctx context.Context) error { return in.r.Read(ctx, got) })
	if got.Len() > 0 {
		chunk = admit(in.ses, in.la, got)
		in.la.dirty.tell()
	}
	switch {
	case err == io.EOF, ctx.Err() != nil:
		return chunk, false, nil
	default:
		return chunk, err == nil, err
	}
}

// read is one life of a source with an edge behind it.
func read[T any](s *sourceRun, r Reader[T], e *edge[T]) error {
	la := newLane(s.run)
	la.raw = true
	var drain <-chan struct{}
	if e.gives {
		drain = s.run.reading.Done()
	}
	in, err := openIntake(s, r, la)
	if err != nil {
		return err
	}
	defer in.ses.end()
	for {
		room, bytes, ok := s.credits()
		for !ok {
			if !s.await() {
				return nil
			}
			room, bytes, ok = s.credits()
		}
		chunk, more, err := in.next(e.fresh(), room, bytes)
		switch {
		case len(chunk) == 0:
		case drain != nil && s.run.reading.Err() != nil:
			giveBack(la, chunk)
			la.dirty.tell()
		default:
			e.send(la, chunk, true, drain)
			la.dirty.tell()
		}
		if !more || la.aborted {
			return err
		}
	}
}

// await waits until there may be credits. It reports false when the graph drains.
func (s *sourceRun) await() bool {
	var look <-chan time.Time
	if at := s.nextLook(); !at.IsZero() {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		look = t.C
	}
	select {
	case <-s.signal:
	case <-look:
		s.widen(nil)
	case <-s.run.reading.Done():
		return false
	}
	return true
}

// readInline returns the body of a source that shares its goroutine with the stages behind it. If
// one of these stages fails, they begin a new life, but the Reader continues its own. Only a
// failure of the Reader ends that.
func readInline[T any](s *sourceRun, open func() Reader[T], to chain[T]) func() error {
	var in *intake[T]
	return func() error {
		la := newLane(s.run)
		la.raw = true
		la.alarms = append(la.alarms, alarm{next: s.nextLook, ring: func() error { s.widen(la); return nil }})
		push := to.open(la)
		all := func(chunk []Message[T]) { pushAll(la, chunk, push) }
		if s.node.GivesBack {
			all = inGrains(la, &edgeStats{}, push)
		}
		if in == nil {
			opened, err := openIntake(s, open(), la)
			if err != nil {
				return err
			}
			in = opened
		}
		in.la = la
		over := false
		err := la.live(func() (err error) {
			over, err = in.feed(all)
			return err
		})
		if over || err == nil {
			in.ses.end()
		}
		if over && !in.ended { // the Reader has failed
			in = nil
		}
		return err
	}
}

// feed pushes the messages of the Reader down a chain. over reports that the Reader has ended or
// failed.
func (in *intake[T]) feed(pushAll func([]Message[T])) (over bool, err error) {
	s, la := in.s, in.la
	buf := make([]Message[T], 0, min(s.node.chunk, defaultChunk))
	for !la.aborted && !in.ended {
		if err := la.ring(); err != nil {
			return false, err
		}
		if s.run.reading.Err() != nil {
			return false, nil
		}
		room, bytes, ok := s.credits()
		if !ok { // the drain signals too
			receive(la, s.signal)
			continue
		}
		began := time.Now()
		la.halt(began)
		chunk, more, err := in.next(buf, room, bytes)
		la.except(time.Since(began))
		pushAll(chunk)
		la.flush(true)
		clear(chunk)
		if err != nil {
			return true, err
		}
		in.ended = !more
	}
	return in.ended, nil
}

// admit gives each message of an intake a lease, and returns the messages that enter the graph.
func admit[T any](ses *session, la *lane, in *Intake[T]) []Message[T] {
	n, size := in.Len(), 0
	sl := newSlab(n, ses)
	sl.first = in.seq
	if len(in.metas) > 0 {
		for len(in.metas) < n {
			in.metas = append(in.metas, Meta{})
		}
		sl.metas = in.metas
	}
	if len(in.sizes) > 0 {
		for len(in.sizes) < n {
			in.sizes = append(in.sizes, 0)
		}
		for _, b := range in.sizes {
			size += b
		}
		sl.sizes = in.sizes
	}
	for i := range in.msgs {
		in.msgs[i].lease = lease{slab: sl, at: int32(i)}
		if i < len(in.metas) {
			in.msgs[i].meta = &in.metas[i]
		}
	}
	ses.admit(sl, n, size)
	s := ses.source
	s.in.Add(uint64(n))
	s.out.Add(uint64(n - len(in.bad)))
	if len(in.bad) == 0 {
		return in.msgs
	}
	good, at := in.msgs[:0], 0
	for i, m := range in.msgs {
		if at < len(in.bad) && in.bad[at].at == i {
			failOutright(la, s.stageRun, m, in.bad[at].err)
			at++
			continue
		}
		good = append(good, m)
	}
	return good
}
