package projection

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/eventstore"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/view"
)

// item is an event on its way to the applier.
type item[E any] struct {
	session *session
	before  redisio.ID // the event before it in the log
	event   eventstore.Event[E]
	err     error // it cannot be decoded
}

// session is one reading of a log from a position on. A new one begins when an event must be read
// again.
type session struct {
	build view.Build
	owner string
	dead  atomic.Bool // its remaining items are not needed
	done  redisio.ID  // the last event that was applied. Owned by the applier.
}

// follower reads the log of a partition for the live or the next build.
//
// Idea: while another process has the partition, or there is no build to compute, Read waits. Once
// it has the claim, it starts a session at the position of the build. A nack ends the session, and
// the next one starts at the position again.
type follower[E any] struct {
	p         *Projection[E]
	partition int
	next      bool // follows the next build
	owner     string

	// Owned by Read.
	session *session
	tail    *reader.Tail
	last    redisio.ID // the last event read
	looked  time.Time
	claimed time.Time
	build   view.Build // as the last look has found

	began atomic.Uint64 // the number of the first item of the session
	again atomic.Int64  // when to begin a new session, in Unix ns; 0: not
	meter atomic.Value  // view.Build, for Meter

	failed atomic.Pointer[error] // why it cannot read now

	mu    sync.Mutex // guards the fields below
	stuck string     // the event that was nacked last
	nacks int        // how often
}

func newFollower[E any](p *Projection[E], partition int, next bool) *follower[E] {
	return &follower[E]{p: p, partition: partition, next: next, owner: rand.Text()[:12]}
}

// Read adds the next events, or waits for them. While Redis cannot answer, it tries again.
func (f *follower[E]) Read(ctx context.Context, in *flow.Intake[item[E]]) error {
	for ctx.Err() == nil {
		n := 0
		wait, err := f.ready(ctx, in)
		if err == nil && wait == 0 {
			n, err = f.fill(ctx, in)
		}
		switch {
		case ctx.Err() != nil && n == 0:
		case redisio.IsPermanent(err) || flow.IsPermanent(err):
			return err
		case err != nil:
			if f.failed.Swap(&err) == nil {
				flow.Logger(ctx).Warn("a projection cannot read, and tries again",
					"projection", f.p.cfg.Name, "partition", f.partition, "error", err)
			}
			wait = max(f.p.cfg.Poll, 100*time.Millisecond)
		default:
			f.failed.Store(nil)
		}
		if n > 0 {
			return nil
		}
		sleep(ctx, wait)
	}
	return ctx.Err()
}

// Ready reports to a readiness probe whether Redis answers. A process that stands by is ready.
func (f *follower[E]) Ready() error {
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// ready prepares a session. It returns how long to wait before the next try, or 0.
func (f *follower[E]) ready(ctx context.Context, in *flow.Intake[item[E]]) (time.Duration, error) {
	now := time.Now()
	if again := f.again.Load(); again != 0 {
		f.end(ctx)
		if wait := time.Unix(0, again).Sub(now); wait > 0 {
			return min(wait, f.p.cfg.Poll), nil
		}
		f.again.Store(0)
		f.looked = time.Time{} // the build may be another one
	}
	if now.Sub(f.looked) >= f.p.cfg.Poll {
		if err := f.look(ctx); err != nil {
			return 0, err
		}
		f.looked = now
	}
	if f.session != nil && f.session.build != f.build {
		f.end(ctx)
	}
	if f.build == "" {
		return f.p.cfg.Poll, nil
	}
	if f.session != nil && now.Sub(f.claimed) < f.p.view.Config().Lease/3 {
		return 0, nil
	}
	c, err := f.p.view.Claim(ctx, f.build, f.partition, f.owner)
	switch {
	case errors.Is(err, view.ErrDropped):
		f.looked = time.Time{}
		return f.p.cfg.Poll, nil
	case err != nil:
		return 0, err
	case c.Busy > 0:
		f.end(ctx)
		return min(c.Busy, f.p.cfg.Poll), nil
	}
	f.claimed = now
	if f.session != nil {
		return 0, nil
	}
	if c.Entries == 0 && !f.p.cfg.SkipUndecodable {
		if err := f.whole(ctx); err != nil {
			return 0, err
		}
	}
	return 0, f.begin(ctx, c.Position, in)
}

// whole returns an error if events of the log were deleted or trimmed. A build of the rest would
// replace one that has them.
func (f *follower[E]) whole(ctx context.Context) error {
	log := f.p.store.Log(f.partition)
	info, err := f.p.rdb.XInfoStream(ctx, log).Result()
	switch {
	case redisio.IsMissing(err) || err == nil && info.MaxDeletedEntryID == "": // the server does not count
		return nil
	case err != nil:
		return fmt.Errorf("projection: look at %q: %w", log, err)
	case info.EntriesAdded != info.Length:
		return fmt.Errorf("projection: %d of %d entries of %q were deleted; restore them from a backup",
			info.EntriesAdded-info.Length, info.EntriesAdded, log)
	}
	return nil
}

// look finds out which build to follow: none if another version of the code computes it.
func (f *follower[E]) look(ctx context.Context) error {
	builds, err := f.p.view.Builds(ctx)
	if err != nil {
		return err
	}
	f.build = builds.Live
	if f.next {
		f.build = builds.Next
	}
	f.meter.Store(f.build) // of any version, so that a build that no process computes is noticed
	if f.build.Version() != f.p.cfg.Version {
		f.build = ""
	}
	return nil
}

// begin begins a session behind a position.
func (f *follower[E]) begin(ctx context.Context, at redisio.ID, in *flow.Intake[item[E]]) error {
	tail, err := reader.NewTail(f.p.rdb, reader.TailConfig{Key: f.p.store.Log(f.partition), Start: redisio.StartID(at),
		Block: min(max(f.p.cfg.Poll, 10*time.Millisecond), time.Second), MaxCount: chunk})
	if err != nil {
		return flow.Permanent(err)
	}
	if err := tail.Open(ctx); err != nil {
		return err
	}
	f.tail, f.last = tail, at
	f.session = &session{build: f.build, owner: f.owner, done: at}
	f.began.Store(in.Seq())
	return nil
}

// end ends the session, and the claim.
func (f *follower[E]) end(ctx context.Context) {
	if f.session == nil {
		return
	}
	f.session.dead.Store(true)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = f.tail.Close(ctx)                                            // of a connection
	_ = f.p.view.Release(ctx, f.session.build, f.partition, f.owner) // or the claim lapses
	f.session, f.tail = nil, nil
}

// fill adds the events of one read. It returns within Poll.
func (f *follower[E]) fill(ctx context.Context, in *flow.Intake[item[E]]) (n int, err error) {
	var b redisio.Batch
	short, cancel := context.WithTimeout(ctx, f.p.cfg.Poll)
	defer cancel()
	err = f.tail.Read(short, in.Room(), int64(in.Bytes()), &b)
	for i := range b.Entries {
		entry := &b.Entries[i]
		e, bad := f.p.store.Decode(entry)
		meta := flow.Meta{ID: entry.ID, Time: entry.Position.Time(), Attempt: f.attempt(entry.ID), Key: e.Aggregate,
			Type: e.Type, MessageID: e.MessageID}
		e.ID = entry.Position
		in.Add(item[E]{session: f.session, before: f.last, event: e, err: bad}, meta, entry.Size())
		f.last = entry.Position
	}
	if short.Err() != nil && (ctx.Err() == nil || len(b.Entries) > 0) {
		err = nil
	}
	return len(b.Entries), err
}

// Commit begins a new session if an event of this one was not applied.
func (f *follower[E]) Commit(_ context.Context, settled []flow.Settlement) error {
	var first *flow.Settlement // the events behind it were not applied because of it
	for i := range settled {
		s := &settled[i]
		if s.Outcome != flow.Acked && s.Seq >= f.began.Load() && (first == nil || s.Seq < first.Seq) {
			first = s
		}
	}
	if first == nil {
		return nil
	}
	at := time.Now()
	if first.Fault != nil && !errors.Is(first.Fault.Err, errStale) {
		f.mu.Lock()
		if f.stuck != first.ID {
			f.stuck, f.nacks = first.ID, 0
		}
		f.nacks++
		after := min(100*time.Millisecond<<min(f.nacks, 10), time.Minute) // of a policy that does not nack
		f.mu.Unlock()
		if first.Outcome >= flow.Nacked {
			after = first.Fault.After
		}
		at = at.Add(after)
	}
	f.again.CompareAndSwap(0, at.UnixNano())
	return nil
}

// attempt returns the number of this delivery of an event, for policies with growing waits.
func (f *follower[E]) attempt(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if id == f.stuck {
		return f.nacks + 1
	}
	return 1
}

// Close ends the session.
func (f *follower[E]) Close(ctx context.Context) error {
	f.end(ctx)
	return nil
}

// Meter returns how many events the build lacks.
func (f *follower[E]) Meter(ctx context.Context) (lag, pending int64, err error) {
	b, _ := f.meter.Load().(view.Build)
	if b == "" {
		return 0, -1, nil
	}
	part, err := f.p.view.Part(ctx, b, f.partition)
	if err != nil {
		return -1, -1, err
	}
	return part.Behind, -1, nil
}

// Origin names the log, for spans.
func (f *follower[E]) Origin() (stream, group string) { return f.p.store.Log(f.partition), "" }

func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
