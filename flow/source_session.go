package flow

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// session is one life of a source's Reader, together with its committer, which outlives the
// reading. A session ends when all entries that the Reader has read are settled and committed.
type session struct {
	source  *sourceRun
	reader  any
	next    uint64 // sequence number of the next entry; owned by the reading goroutine
	wakeup  chan struct{}
	gathers atomic.Bool     // the committer waits for more settlements, see gather
	direct  bool            // no commits are needed: the lanes return the credits themselves
	ctx     context.Context // the context of commits
	cancel  context.CancelFunc

	mu    sync.Mutex
	slabs []*slab
	batch settledBatch // used if direct is set
	idle  bool         // nothing is in flight: the committer rests until it is woken
	over  bool         // reading has ended
	final bool         // unsettled entries are given back now
}

func (s *sourceRun) begin(reader any) *session {
	_, commits := reader.(Committer)
	ses := &session{source: s, reader: reader, wakeup: make(chan struct{}, 1)}
	ses.direct = !commits && s.run.graph.hooks.Committed == nil
	ses.lease(reader)
	if n := s.node; !commits && (n.Redelivers || n.DeadLetters) {
		s.fail(Permanent(errNoCommitter))
	}
	ses.ctx, ses.cancel = context.WithCancel(context.WithoutCancel(s.run.hard))
	s.mu.Lock()
	s.sessions = append(s.sessions, ses)
	s.mu.Unlock()
	s.run.committers.Go(func() {
		if err := contained(ses.commitLoop, func() { s.fail(errGoexit) }); err != nil {
			s.fail(err)
		}
	})
	return ses
}

func (ses *session) admit(sl *slab, n, size int) {
	ses.next += uint64(n)
	ses.source.take(n, size, sl.since)
	ses.mu.Lock()
	ses.slabs = append(ses.slabs, sl)
	idle := ses.idle
	ses.idle = false
	ses.mu.Unlock()
	if idle {
		ses.wake() // it must poll again: the lane may spend hours in its first message
	}
}

// end records that the Reader has stopped reading. finish records that the graph is done with all
// messages.
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

// tell notifies the session that entries have settled. A direct session accounts for them at once,
// because waking its committer would cost more than the work itself. A committer that gathers more
// of them is not woken, unless something depends on its commit.
func (ses *session) tell() {
	if !ses.direct {
		if !ses.gathers.Load() || ses.pressing() {
			ses.wake()
		}
		return
	}
	ses.mu.Lock()
	over, spans := ses.collectLocked(&ses.batch), ses.batch.spans
	ses.account(&ses.batch)
	ses.mu.Unlock()
	endSpans(spans)
	if over {
		ses.wake()
	}
}

func (ses *session) wake() {
	wake(ses.wakeup)
}

// The lanes wake the committer once per chunk. In addition it polls, at first soon and then less
// and less often, so that settlements do not wait while a lane is in a slow handler.
const (
	lookFirst = 2 * time.Millisecond
	lookLast  = 250 * time.Millisecond
)

// commitLoop is the committer: it collects settlements, has the Reader commit them, and returns the
// credits.
func (ses *session) commitLoop() error {
	defer ses.close()
	look := lookFirst
	timer := time.NewTimer(look)
	defer timer.Stop()
	batch := settledBatch{wanted: !ses.direct}
	tries := 0
	var last time.Time // end of the last commit
	for {
		if tries == 0 {
			ses.gather(timer, last)
		}
		over := ses.collect(&batch)
		var err error
		if batch.n > 0 {
			if err = ses.commit(&batch, tries); err == nil {
				look, last = lookFirst, time.Now()
			}
		}
		if tries++; err == nil {
			tries = 0
		}
		hopeless := tries > 1 && IsPermanent(err) // once more: a Reader may report the end of its input once
		if over && (batch.n == 0 || hopeless || ses.ctx.Err() != nil) {
			if batch.n > 0 {
				ses.source.uncommitted.Add(uint64(batch.n))
				endSpans(batch.spans)
				ses.source.run.log.Warn("commit gave up, the source keeps these entries",
					"stage", ses.source.name, "entries", batch.n)
			}
			return nil
		}
		wait := look
		if tries > 0 {
			wait = min(exponential(lookFirst*10, tries), time.Second)
		} else if look *= 2; look > lookLast {
			look = lookLast
		}
		if ses.rest(timer, wait, tries > 0) {
			look = lookFirst
		}
	}
}

// gatherFor is how long settlements wait for more if a commit has just ended. A commit is a round
// trip, which costs the same for one entry and for a hundred.
const gatherFor = 5 * time.Millisecond

// gather waits until gatherFor has passed since the last commit, unless something depends on this
// commit. It returns early if the source is short of credits or has ended.
func (ses *session) gather(timer *time.Timer, last time.Time) {
	if ses.direct {
		return
	}
	ses.gathers.Store(true)
	defer ses.gathers.Store(false)
	for {
		wait := gatherFor - time.Since(last)
		if wait <= 0 || ses.pressing() {
			return
		}
		timer.Reset(wait)
		select {
		case <-ses.wakeup:
		case <-timer.C:
			return
		}
	}
}

// pressing reports whether the end of the source, or its next read, waits for a commit.
func (ses *session) pressing() bool {
	ses.mu.Lock()
	over := ses.over
	ses.mu.Unlock()
	return over || ses.source.short()
}

// rest waits for settlements. If nothing is in flight, only they can end the wait, and rest reports
// true. While a commit is to be retried, only the time ends the wait.
func (ses *session) rest(timer *time.Timer, wait time.Duration, retrying bool) (idle bool) {
	timer.Reset(wait)
	if retrying {
		select {
		case <-timer.C:
		case <-ses.ctx.Done():
		}
		return false
	}
	ses.mu.Lock()
	idle = ses.direct || len(ses.slabs) == 0
	ses.idle = idle && !ses.direct
	ses.mu.Unlock()
	if idle {
		<-ses.wakeup
		return true
	}
	select {
	case <-ses.wakeup:
	case <-timer.C:
	}
	return false
}

// collect adds the leases settled since the last call, and reports whether these were the last.
func (ses *session) collect(b *settledBatch) (over bool) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	return ses.collectLocked(b)
}

func (ses *session) collectLocked(b *settledBatch) (over bool) {
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

// commit has the Reader commit the batch, and empties it. If it fails, it may be retried.
func (ses *session) commit(b *settledBatch, tries int) error {
	s := ses.source
	if c, ok := ses.reader.(Committer); ok {
		if err := guard(ses.ctx, func(ctx context.Context) error { return c.Commit(ctx, b.settled) }); err != nil {
			if IsPermanent(err) {
				s.fail(err)
			}
			if tries == 0 || tries%10 == 9 {
				s.run.log.Warn("commit failed, will try again",
					"stage", s.name, "entries", b.n, "tries", tries+1, "error", err)
			}
			return err
		}
	}
	if hook := s.run.graph.hooks.Committed; hook != nil {
		s.run.hook("Committed", func() { hook(s.name, b.settled) })
	}
	spans := b.spans
	ses.account(b)
	endSpans(spans)
	return nil
}

// account adds the committed settlements to the counters, returns the credits, and empties the
// batch.
func (ses *session) account(b *settledBatch) {
	s := ses.source
	if b.n == 0 {
		return
	}
	for o, n := range b.by {
		s.outcomes[o].Add(uint64(n))
	}
	s.settled.Add(uint64(b.n))
	s.released.Add(uint64(b.unfault))
	s.unbegun.Add(uint64(b.unbegun))
	if n := b.by[Nacked]; n > 0 && !s.node.Redelivers && s.run.hard.Err() == nil {
		stage, err := s.name, fmt.Errorf("%w: %s given back unfinished", ErrNotRedeliverable, entries(n))
		if b.nacked != nil && b.nacked.Stage != "" {
			stage, err = b.nacked.Stage, fmt.Errorf("%w: %w", err, b.nacked.Err)
		}
		s.run.fail(&StageError{Graph: s.run.graph.name, Stage: stage, Err: err})
	}
	s.credit(b.n, b.bytes, b.n-b.unfault)
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
	s.close(ses.ctx, ses.reader)
}

// settledBatch is the set of settlements that a committer has collected but not committed: their
// number, outcomes and bytes, and the settlements themselves if the source's Reader needs them.
type settledBatch struct {
	wanted  bool // whether settled is filled
	settled []Settlement
	n       int
	bytes   int
	by      [len(outcomeNames)]int
	unfault int    // Nacked without a fault: given back unfinished
	unbegun int    // of these: before a handler began them
	nacked  *Fault // the first fault of a Nacked entry, if any
	spans   []spanEnd
}

func (h *settledBatch) reset() {
	clear(h.settled)
	*h = settledBatch{wanted: h.wanted, settled: h.settled[:0]}
}

// collect adds the leases settled since the last call. If all is set, it also adds the others as
// Nacked, because their holders are gone or have been given up.
func (s *slab) collect(h *settledBatch, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	prefix := true
	for i := s.scanned; i < len(s.cells); i++ {
		c := &s.cells[i]
		switch have := s.shares(i); {
		case have < settled:
		case have == settled || all:
			if have > settled && Outcome(c.worst.Load()) < Nacked {
				s.worsen(i, ended{outcome: Nacked})
			}
			if !prefix {
				c.more.Store(collected)
			}
			s.take(i, h)
		default:
			prefix = false
		}
		if prefix {
			s.scanned = i + 1
		}
	}
}

// take collects one lease.
func (s *slab) take(i int, h *settledBatch) {
	s.left--
	n := s.end(i)
	o := n.outcome
	h.n++
	h.by[o]++
	if o == Nacked && n.fault == nil {
		h.unfault++
		if n.unbegun {
			h.unbegun++
		}
	} else if o == Nacked && h.nacked == nil {
		h.nacked = n.fault
	}
	if s.spans != nil {
		h.spans = append(h.spans, s.endOf(i, n))
	}
	r := &noRecord
	if s.records != nil {
		r = &s.records[i]
		h.bytes += int(r.size)
	}
	if !h.wanted {
		return
	}
	h.settled = append(h.settled, Settlement{
		Seq: s.first + uint64(i), ID: r.id, Attempt: r.attempts(), Outcome: o, Fault: n.fault,
		Lost: s.cells[i].lost(), Unbegun: n.unbegun && o == Nacked, meta: r,
	})
}
