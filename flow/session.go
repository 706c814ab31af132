package flow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamerson/streamerson-go/flow/internal/run"
)

// sourceRun is a source during a run: its credits, and the sessions of its lives.
//
// Idea of credits: a source may have so many entries, and so many bytes, unsettled at once. Read is asked for no more
// than the free credits and not at all when there are none, and they come back when a settlement has been committed. So
// a slow sink stops the reader, and memory is bounded by these two numbers.
type sourceRun struct {
	run    *Running
	node   *node
	st     *stageRun
	signal chan struct{} // holds a token when credits or the pause may have changed

	mu       sync.Mutex
	free     int // credits
	bytes    int
	paused   bool
	sessions []*session

	settled  atomic.Uint64
	released atomic.Uint64 // given back unfinished at the end
	outcomes [len(outcomeNames)]atomic.Uint64
}

func newSourceRun(r *Running, n *node) *sourceRun {
	return &sourceRun{
		run: r, node: n, st: r.stages[n], free: n.maxInFlight, bytes: n.maxBytes,
		signal: make(chan struct{}, 1),
	}
}

func (s *sourceRun) notify() {
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

func (s *sourceRun) pause(on bool) {
	s.mu.Lock()
	s.paused = on
	s.mu.Unlock()
	s.notify()
}

// credits waits until there is room to read, and reports false when the graph no longer reads.
func (s *sourceRun) credits(ctx context.Context) (room, bytes int, ok bool) {
	for {
		if ctx.Err() != nil {
			return 0, 0, false
		}
		s.mu.Lock()
		room, bytes, ok = s.free, s.bytes, !s.paused && s.free > 0 && s.bytes > 0
		s.mu.Unlock()
		if ok {
			return min(room, s.node.chunk), bytes, true
		}
		select {
		case <-s.signal:
		case <-ctx.Done():
		}
	}
}

func (s *sourceRun) credit(n, bytes int) {
	s.mu.Lock()
	s.free += n
	s.bytes += bytes
	s.mu.Unlock()
	s.notify()
}

// read is one life of a source: it reads chunks and sends them down its edge.
func read[T any](s *sourceRun, r Reader[T], e *edge[T]) error {
	ses := s.begin(r)
	defer ses.end()
	la := newLane(s.run)
	ctx := s.run.reading
	if o, ok := r.(Opener); ok {
		if err := guard(ctx, o.Open); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
	for {
		room, bytes, ok := s.credits(ctx)
		if !ok {
			return nil
		}
		in := &Intake[T]{msgs: e.fresh(), room: room, bytes: bytes, seq: ses.next}
		err := guard(ctx, func(ctx context.Context) error { return r.Read(ctx, in) })
		if in.Len() > 0 {
			if chunk := admit(ses, la, in); len(chunk) > 0 {
				e.send(la, chunk, true)
			}
			la.news.tell()
		}
		switch {
		case err == io.EOF, ctx.Err() != nil, la.aborted:
			return nil
		case err != nil:
			return err
		}
	}
}

// admit gives each message of an intake a lease, and returns those that go into the graph.
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
		in.msgs[i].lease = lease{sl, int32(i)}
		if i < len(in.metas) {
			in.msgs[i].meta = &in.metas[i]
		}
	}
	ses.admit(sl, n, size)
	s := ses.source
	s.st.in.Add(uint64(n))
	s.st.out.Add(uint64(n - len(in.bad)))
	if len(in.bad) == 0 {
		return in.msgs
	}
	base := &stageBase{}
	base.init(la, s.st)
	good, at := in.msgs[:0], 0
	for i, m := range in.msgs {
		if at < len(in.bad) && in.bad[at].at == i {
			if again, _ := base.failed(m.lease, m.metaRef(), in.bad[at].err, pastRetries); again {
				m.lease.release(Nacked, nil, &la.news)
			}
			at++
			continue
		}
		good = append(good, m)
	}
	return good
}

// session is one life of a source's Reader, together with the committer that outlives its reading: it ends when all
// that the Reader has read is settled and committed.
type session struct {
	source *sourceRun
	reader any
	next   uint64 // sequence number of the next entry; the reading goroutine's
	wakeup chan struct{}
	ctx    context.Context // of commits
	cancel context.CancelFunc

	mu    sync.Mutex
	slabs []*slab
	over  bool // nothing more will be read
	final bool // what is unsettled is given back now
}

func (s *sourceRun) begin(reader any) *session {
	ses := &session{source: s, reader: reader, wakeup: make(chan struct{}, 1)}
	ses.ctx, ses.cancel = context.WithCancel(context.WithoutCancel(s.run.hard))
	s.mu.Lock()
	s.sessions = append(s.sessions, ses)
	s.mu.Unlock()
	s.run.committers.Go(func() {
		_, _ = run.Call(ses.commitLoop, func() {
			s.run.fail(&StageError{Graph: s.run.graph.name, Stage: s.st.name, Err: errGoexit})
		})
	})
	return ses
}

func (ses *session) admit(sl *slab, n, size int) {
	ses.next += uint64(n)
	ses.source.credit(-n, -size)
	ses.mu.Lock()
	ses.slabs = append(ses.slabs, sl)
	ses.mu.Unlock()
}

// end says that the Reader reads no more; finish that the graph is done with all messages.
func (ses *session) end() {
	ses.mu.Lock()
	ses.over = true
	ses.mu.Unlock()
	ses.wake()
}

func (ses *session) finish() {
	ses.mu.Lock()
	ses.over, ses.final = true, true
	ses.mu.Unlock()
	ses.wake()
}

func (ses *session) wake() {
	select {
	case ses.wakeup <- struct{}{}:
	default:
	}
}

// The committer is woken by the lanes once per chunk. Beside that it looks by itself, first soon and then ever less
// often, so that what settles while a lane sits in a slow handler is not left waiting for it.
const (
	lookFirst = 2 * time.Millisecond
	lookLast  = 250 * time.Millisecond
)

// commitLoop is the committer: it gathers what has settled, has the Reader commit it, and returns the credits.
func (ses *session) commitLoop() error {
	defer ses.close()
	look := lookFirst
	timer := time.NewTimer(look)
	defer timer.Stop()
	_, wanted := ses.reader.(Committer)
	batch := harvest{wanted: wanted || ses.source.run.graph.hooks.Committed != nil}
	tries := 0
	for {
		over := ses.collect(&batch)
		switch {
		case batch.n == 0:
			tries = 0
		case ses.commit(&batch, tries):
			tries, look = 0, lookFirst
		default:
			tries++
		}
		if over && (batch.n == 0 || ses.ctx.Err() != nil) {
			if batch.n > 0 {
				ses.source.run.log.Warn().Str("stage", ses.source.st.name).Int("entries", batch.n).
					Msg("commit gave up: these entries stay with the source")
			}
			return nil
		}
		wait := look
		if tries > 0 {
			wait = min(exponential(lookFirst*10, tries), time.Second)
		} else if look *= 2; look > lookLast {
			look = lookLast
		}
		ses.rest(timer, wait, tries > 0)
	}
}

// rest waits for news. With nothing in flight only news can come; while a commit is to be tried again, only time counts.
func (ses *session) rest(timer *time.Timer, wait time.Duration, retrying bool) {
	timer.Reset(wait)
	if retrying {
		select {
		case <-timer.C:
		case <-ses.ctx.Done():
		}
		return
	}
	ses.mu.Lock()
	idle := len(ses.slabs) == 0
	ses.mu.Unlock()
	if idle {
		<-ses.wakeup
		return
	}
	select {
	case <-ses.wakeup:
	case <-timer.C:
	}
}

// collect adds what has settled since the last time, and reports whether it was the last.
func (ses *session) collect(b *harvest) (over bool) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	rest := ses.slabs[:0]
	for _, sl := range ses.slabs {
		sl.collect(b, ses.final)
		if sl.left > 0 {
			rest = append(rest, sl)
		}
	}
	clear(ses.slabs[len(rest):])
	ses.slabs = rest
	return ses.over && len(rest) == 0
}

// commit has the Reader commit the batch, and empties it. It reports false when that failed and is to be tried again.
func (ses *session) commit(b *harvest, tries int) bool {
	s := ses.source
	if c, ok := ses.reader.(Committer); ok {
		if err := guard(ses.ctx, func(ctx context.Context) error { return c.Commit(ctx, b.settled) }); err != nil {
			var permanent *permanentError
			if errors.As(err, &permanent) {
				s.run.fail(&StageError{Graph: s.run.graph.name, Stage: s.st.name, Err: err})
			}
			if tries == 0 || tries%10 == 9 {
				s.run.log.Warn().Str("stage", s.st.name).Int("entries", b.n).Int("tries", tries+1).
					Err(err).Msg("commit failed, will try again")
			}
			return false
		}
	}
	for o, n := range b.by {
		s.outcomes[o].Add(uint64(n))
	}
	s.settled.Add(uint64(b.n))
	s.released.Add(uint64(b.unfault))
	if hook := s.run.graph.hooks.Committed; hook != nil {
		s.run.hook("Committed", func() { hook(s.st.name, b.settled) })
	}
	if b.unfault > 0 && !s.node.redelivers && s.run.hard.Err() == nil {
		s.run.fail(&StageError{Graph: s.run.graph.name, Stage: s.st.name, Err: fmt.Errorf(
			"%w: %d entries were given back unfinished", ErrNotRedeliverable, b.unfault)})
	}
	s.credit(b.n, b.bytes)
	b.reset()
	return true
}

func (ses *session) close() {
	defer ses.cancel()
	s := ses.source
	s.mu.Lock()
	for i := range s.sessions {
		if s.sessions[i] == ses {
			s.sessions = append(s.sessions[:i], s.sessions[i+1:]...)
			break
		}
	}
	s.mu.Unlock()
	c, ok := ses.reader.(Closer)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ses.ctx), s.run.graph.ackTimeout)
	defer cancel()
	if err := guard(ctx, c.Close); err != nil {
		s.run.log.Warn().Str("stage", s.st.name).Err(err).Msg("closing the source failed")
	}
}
