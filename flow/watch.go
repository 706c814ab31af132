package flow

import (
	"context"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow/internal/run"
)

// End tells how a watched message ended.
type End struct {
	Tag     any // what Watch was given
	Outcome Outcome
	Fault   *Fault // the worst; nil when the outcome is Acked, and where nobody is to blame
}

// Watcher is told how messages ended that it watches, see Watch. Idempotent sinks and operators
// that remember what is done are made with it.
type Watcher struct {
	ended func(context.Context, []End) error
}

// NewWatcher makes a Watcher. ended is given the ends of messages, many at once, by one goroutine
// of each run of a graph. When it returns an error it is called again after a backoff, with the
// same ends and those that have come since, so it must be idempotent; until it returns nil the
// entries behind them are not settled, and their credits are not free. A Permanent error stops the
// graph. At the end of a run it has AckTimeout left, and then its context is done: what it could
// not take note of by then ends as it ended all the same. The slice is valid until it returns.
func NewWatcher(ended func(ctx context.Context, ends []End) error) *Watcher { return &Watcher{ended} }

// Watched is a message that is watched.
type Watched struct{ lease lease }

// Watch returns the message as one whose end is watched: when all that comes of it from here on is done, and before
// its entry is settled because of that, w is told how it ended, with the tag. What else comes of
// the entry, as on another branch, does not count. The context must be the handler's; outside a
// running graph nobody is told.
func Watch[T any](ctx context.Context, m Message[T], w *Watcher, tag any) (Message[T], Watched) {
	st := stageOf(ctx)
	if st == nil {
		return m, Watched{}
	}
	s := newSlab(1, nil)
	s.watch = &watch{run: st.la.run, by: w, tag: tag}
	if !m.lease.none() && m.lease.share(1) {
		s.members = []lease{m.lease}
	}
	m.lease = lease{slab: s}
	st.made(m.lease)
	return m, Watched{m.lease}
}

// Follow makes the message end as a watched one does: beside what the handler makes of it, its entry is held until that
// has ended and its watcher has been told, and shares its outcome. It reports false, and does
// nothing, if that is over already.
func Follow[T any](m Message[T], of Watched) bool {
	if of.lease.none() {
		return false
	}
	s := of.lease.slab
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watch.passed {
		return false
	}
	if !m.lease.none() && m.lease.share(1) {
		s.watch.followers = append(s.watch.followers, m.lease)
	}
	return true
}

// watch is what a watched lease has beside its member.
type watch struct {
	run *Running
	by  *Watcher
	tag any

	// Guarded by the slab's mu:
	followers []lease
	passed    bool // the entries are released
}

// ending of a watched lease: it waits for its watcher.
type watchedEnd struct {
	lease   lease
	end     ended // of the entries behind it
	told    ended // what the watcher is told: also of the members that ended apart
	effects []Effect
}

// pass releases the entries behind a watched lease.
func (e *watchedEnd) pass(news *news) {
	s := e.lease.slab
	s.mu.Lock()
	followers := s.watch.followers
	s.watch.followers, s.watch.passed = nil, true
	s.mu.Unlock()
	for _, of := range [][]lease{s.members, followers} {
		for _, l := range of {
			l.attach(e.effects)
			l.end(e.end, news)
		}
	}
	s.members = nil
}

// watches brings the ends of watched messages to their watchers.
//
// Idea: what settles a lease is some lane, which must not do I/O, and may be about to end. So an end is queued, and a
// goroutine for each watcher takes the queue, tells it, and releases the entries. It lives while there is something to
// tell: between bursts there is none.
type watches struct {
	mu     sync.Mutex // guards what follows; never held over a call
	queues map[*Watcher]*watchQueue
	over   bool // nobody is told any more
	ctx    context.Context
	cancel context.CancelFunc
	group  run.Group
}

type watchQueue struct {
	waiting []watchedEnd
	running bool
}

// settled queues the end of a watched lease.
func (ws *watches) settled(r *Running, e watchedEnd, news *news) {
	ws.mu.Lock()
	if ws.over {
		ws.mu.Unlock()
		e.pass(news)
		return
	}
	if ws.queues == nil {
		ws.queues = make(map[*Watcher]*watchQueue)
		ws.ctx, ws.cancel = context.WithCancel(context.WithoutCancel(r.hard))
	}
	by := e.lease.slab.watch.by
	q := ws.queues[by]
	if q == nil {
		q = &watchQueue{}
		ws.queues[by] = q
	}
	q.waiting = append(q.waiting, e)
	if !q.running {
		q.running = true
		ws.group.Go(func() { r.tellWatcher(by, q) })
	}
	ws.mu.Unlock()
}

// tellWatcher tells one watcher of what is queued, until there is nothing left.
func (r *Running) tellWatcher(by *Watcher, q *watchQueue) {
	var batch []watchedEnd
	var ends []End
	for tries := 0; ; {
		r.watches.mu.Lock()
		for _, e := range q.waiting {
			batch = append(batch, e)
			ends = append(ends, End{Tag: e.lease.slab.watch.tag, Outcome: e.told.outcome, Fault: e.told.fault})
		}
		clear(q.waiting)
		q.waiting = q.waiting[:0]
		q.running = len(batch) > 0
		r.watches.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		if !r.told(by, ends, tries) {
			tries++
			continue
		}
		tries = 0
		var n news
		for i := range batch {
			batch[i].pass(&n)
		}
		n.tell()
		clear(batch)
		clear(ends)
		batch, ends = batch[:0], ends[:0]
	}
}

// told tells a watcher, and reports false after a wait if that failed and is to be tried again.
func (r *Running) told(by *Watcher, ends []End, tries int) bool {
	ctx := r.watches.ctx
	var err error
	if gone := contained(func() error {
		err = guard(ctx, func(ctx context.Context) error { return by.ended(ctx, ends) })
		return nil
	}, func() { r.fail(&StageError{Graph: r.graph.name, Err: errGoexit}) }); gone != nil {
		err = gone
	}
	switch {
	case err == nil:
		return true
	case IsPermanent(err):
		r.fail(&StageError{Graph: r.graph.name, Err: err})
		return true
	case ctx.Err() != nil:
		r.log.Warn("watcher gave up: it has not taken note of how these ended", "messages", len(ends), "error", err)
		return true
	case tries == 0 || tries%10 == 9:
		r.log.Warn("watcher failed, will try again", "messages", len(ends), "tries", tries+1, "error", err)
	}
	t := time.NewTimer(min(exponential(lookFirst*10, tries+1), time.Second))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

// finish waits until the watchers have been told of all that has ended, but no longer than d and
// then, for those that heed their context, once more as long. After that, what ends is passed on
// untold.
func (ws *watches) finish(d time.Duration) {
	ws.mu.Lock()
	ws.over = true
	begun := ws.queues != nil
	ws.mu.Unlock()
	if !begun {
		return
	}
	if !ws.group.WaitFor(d) {
		ws.cancel()
		ws.group.WaitFor(d)
	}
	ws.cancel()
}
