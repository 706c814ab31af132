package flow

import (
	"context"
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

	settled     atomic.Uint64
	released    atomic.Uint64 // given back unfinished
	uncommitted atomic.Uint64 // settled, but no commit of it has succeeded by the end
	outcomes    [len(outcomeNames)]atomic.Uint64
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

// credits returns how much may be read now; false if nothing may, until there is a signal.
func (s *sourceRun) credits() (room, bytes int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(s.free, s.node.chunk), s.bytes, !s.paused && s.free > 0 && s.bytes > 0
}

func (s *sourceRun) credit(n, bytes int) {
	s.mu.Lock()
	s.free += n
	s.bytes += bytes
	s.mu.Unlock()
	s.notify()
}

// intake is one life of a source's reading: the same whether what is read goes into an edge or down a chain.
type intake[T any] struct {
	s   *sourceRun
	r   Reader[T]
	ses *session
	la  *lane // that gives leases back

	ended bool // there is no more to read
}

func openIntake[T any](s *sourceRun, r Reader[T], la *lane) (*intake[T], error) {
	in := &intake[T]{s: s, r: r, ses: s.begin(r), la: la}
	if o, ok := r.(Opener); ok {
		if err := guard(s.run.reading, o.Open); err != nil {
			in.ses.end()
			return nil, err
		}
	}
	return in, nil
}

// next reads a chunk, into buf. more is false when that was the last.
func (in *intake[T]) next(buf []Message[T], room, bytes int) (chunk []Message[T], more bool, err error) {
	ctx := in.s.run.reading
	got := &Intake[T]{msgs: buf, room: room, bytes: bytes, seq: in.ses.next}
	err = guard(ctx, func(ctx context.Context) error { return in.r.Read(ctx, got) })
	if got.Len() > 0 {
		chunk = admit(in.ses, in.la, got)
		in.la.news.tell()
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
	in, err := openIntake(s, r, la)
	if err != nil {
		return err
	}
	defer in.ses.end()
	for {
		room, bytes, ok := s.credits()
		for !ok {
			select {
			case <-s.signal:
			case <-s.run.reading.Done():
				return nil
			}
			room, bytes, ok = s.credits()
		}
		chunk, more, err := in.next(e.fresh(), room, bytes)
		if len(chunk) > 0 {
			e.send(la, chunk, true)
		}
		if !more || la.aborted {
			return err
		}
	}
}

// readInline returns the body of a source that shares its goroutine with the stages behind it. When one of these fails
// they begin a new life and the Reader goes on with its own; only its own failure ends that.
func readInline[T any](s *sourceRun, open func() Reader[T], to chain[T]) func() error {
	var in *intake[T]
	return func() error {
		la := newLane(s.run)
		push := to.open(la)
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
			over, err = in.feed(push)
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

// feed pushes what the Reader reads down a chain. over says that the Reader has come to its end, or has failed.
func (in *intake[T]) feed(push func(Message[T])) (over bool, err error) {
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
		if !ok { // the drain gives a signal too
			receive(la, s.signal)
			continue
		}
		chunk, more, err := in.next(buf, room, bytes)
		started := time.Now()
		pushAll(la, chunk, push)
		s.st.busy.Add(int64(time.Since(started)))
		la.news.tell()
		clear(chunk)
		if err != nil {
			return true, err
		}
		in.ended = !more
	}
	return in.ended, nil
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
	direct bool            // nobody wants to commit: the lanes return the credits themselves
	ctx    context.Context // of commits
	cancel context.CancelFunc

	mu    sync.Mutex
	slabs []*slab
	batch harvest // direct
	over  bool    // nothing more will be read
	final bool    // what is unsettled is given back now
}

func (s *sourceRun) begin(reader any) *session {
	_, commits := reader.(Committer)
	ses := &session{source: s, reader: reader, wakeup: make(chan struct{}, 1)}
	ses.direct = !commits && s.run.graph.hooks.Committed == nil
	if n := s.node; !commits && (n.redelivers || n.deadLetters || n.effects) {
		s.run.fail(&StageError{Graph: s.run.graph.name, Stage: s.st.name, Err: Permanent(errNoCommitter)})
	}
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

// tell says that entries have settled. A direct session deals with that on the spot: waking its committer, to do next to
// nothing, would cost more than all the rest.
func (ses *session) tell() {
	if !ses.direct {
		ses.wake()
		return
	}
	ses.mu.Lock()
	over := ses.collectLocked(&ses.batch)
	ses.account(&ses.batch)
	ses.mu.Unlock()
	if over {
		ses.wake()
	}
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
	batch := harvest{wanted: !ses.direct}
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
				ses.source.uncommitted.Add(uint64(batch.n))
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
	idle := ses.direct || len(ses.slabs) == 0
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
	return ses.collectLocked(b)
}

func (ses *session) collectLocked(b *harvest) (over bool) {
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
			if IsPermanent(err) {
				s.run.fail(&StageError{Graph: s.run.graph.name, Stage: s.st.name, Err: err})
			}
			if tries == 0 || tries%10 == 9 {
				s.run.log.Warn().Str("stage", s.st.name).Int("entries", b.n).Int("tries", tries+1).
					Err(err).Msg("commit failed, will try again")
			}
			return false
		}
	}
	if hook := s.run.graph.hooks.Committed; hook != nil {
		s.run.hook("Committed", func() { hook(s.st.name, b.settled) })
	}
	ses.account(b)
	return true
}

// account counts what has been committed, returns the credits, and empties the batch.
func (ses *session) account(b *harvest) {
	s := ses.source
	if b.n == 0 {
		return
	}
	for o, n := range b.by {
		s.outcomes[o].Add(uint64(n))
	}
	s.settled.Add(uint64(b.n))
	s.released.Add(uint64(b.unfault))
	if n := b.by[Nacked]; n > 0 && !s.node.redelivers && s.run.hard.Err() == nil {
		stage, err := s.st.name, fmt.Errorf("%w: %d entries were given back unfinished", ErrNotRedeliverable, n)
		if b.nacked != nil && b.nacked.Stage != "" {
			stage, err = b.nacked.Stage, fmt.Errorf("%w: %w", err, b.nacked.Err)
		}
		s.run.fail(&StageError{Graph: s.run.graph.name, Stage: stage, Err: err})
	}
	s.credit(b.n, b.bytes)
	b.reset()
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
