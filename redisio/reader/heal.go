package reader

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// LostGroup is the reaction of a reader to a missing group or stream: deleted, flushed, or lost
// because the server had not saved it.
type LostGroup int

const (
	// LostGroupResume recreates the group at the last position known to the reader. Later entries
	// are delivered, some perhaps again. A new stream is delivered from its beginning. It is the
	// default.
	LostGroupResume   LostGroup = iota
	LostGroupEarliest           // delivers the whole stream, also entries delivered before
	LostGroupLatest             // skips unread entries and delivers only entries written from now on
	LostGroupFail               // Read returns a *GroupLostError
)

// GroupLostError reports that the group is missing and that the configuration forbids recreating
// it.
type GroupLostError struct {
	Key, Group string
	Position   string // how far it had been delivered, as far as the reader knows
	StreamGone bool   // the stream is gone as well, or is another one
}

func (e *GroupLostError) Error() string {
	what := "the group is gone"
	if e.StreamGone {
		what = "the stream is gone or a new one, and the group with it"
	}
	return fmt.Sprintf("redisio: group %q of %q: %s; find out who deleted it, then make it again "+
		"(XGROUP CREATE with the position to start at; it was at %s) or set OnLostGroup",
		e.Group, fault.KeyName(e.Key), what, e.Position)
}

// Unwrap makes the error permanent, see redisio.IsPermanent.
func (e *GroupLostError) Unwrap() error { return fault.ErrGroupGone }

// healer recreates a lost group. Owned by the holder of token.
type healer struct {
	*leases
	fetcher     *fetcher
	needsMerge  bool // the group was recreated, and held entries are not restored yet
	streamGone  bool // … and the stream was missing too
	recreations int  // since the last round without an error
}

// heal recreates a lost group, and the stream if it is missing too. By default the group starts at
// its last known position, or at the beginning of a new stream. It never starts at "$", which would
// skip entries. Held entries are put back into the pending list, so that they are delivered again if
// their handling fails.
func (r *healer) heal(ctx context.Context) error {
	at := r.last.get()
	start := redisio.StartID(at).String()
	info, err := r.control.XInfoStream(ctx, r.cfg.Key).Result()
	gone := fault.Judge(err) == fault.LostGroup
	if err != nil && !gone {
		return err
	}
	if !gone {
		gone = another(info, at)
	}
	switch {
	case r.cfg.OnLostGroup == LostGroupFail:
		return &GroupLostError{r.cfg.Key, r.cfg.Group, at.String(), gone}
	case r.cfg.OnLostGroup == LostGroupLatest:
		start = "$"
	case gone, r.cfg.OnLostGroup == LostGroupEarliest:
		start = "0-0"
	}
	if err := r.create(ctx, r.control, start); err != nil {
		return err
	}
	if at, err = r.delivered(ctx, r.control); err != nil { // another reader may have been first
		return err
	}
	r.last.set(at)
	r.fetcher.restart()
	r.needsMerge = true
	r.streamGone = r.streamGone || gone
	return r.restoreAll(ctx)
}

// another reports whether the stream cannot be the one that was read up to at: it ends before that,
// or it begins after it and no entry was ever removed from it.
func another(info *redis.XInfoStream, at redisio.ID) bool {
	top, err := redisio.ParseID(info.LastGeneratedID)
	if err != nil || top.Compare(at) < 0 {
		return true
	}
	first, err := redisio.ParseID(info.FirstEntry.ID)
	return err == nil && !at.IsZero() && at.Compare(first) < 0 && info.EntriesAdded > 0 &&
		info.EntriesAdded == info.Length
}

// restoreAll restores all held and delayed entries in a recreated group.
func (r *healer) restoreAll(ctx context.Context) error {
	count := 0
	if !r.cfg.AtMostOnce {
		held, err := r.restoreHeld(ctx)
		if err != nil {
			return err
		}
		given, err := r.restoreDelayed(ctx)
		if err != nil {
			return err
		}
		r.wiped.Store(false)
		count = held + given
	}
	gone := r.streamGone
	r.needsMerge, r.streamGone = false, false
	r.emit(
		redisio.Event{
			Kind:       redisio.EventGroupRecreated,
			Position:   r.last.get().String(),
			Count:      count,
			StreamGone: gone,
		},
	)
	return nil
}

// restoreHeld restores held entries, also those with a lapsed lease, because no other consumer can
// have settled them since the group was recreated.
func (r *healer) restoreHeld(ctx context.Context) (int, error) {
	resume, err := r.held.Quiesce(ctx)
	if err != nil {
		return 0, err
	}
	sent := time.Now()
	ids := r.held.All()
	s, err := r.setIdleQuietly(ctx, r.held.Asks(ids, sent, math.MaxInt64))
	if err == nil {
		r.held.Renewed(s.restored, sent)
		r.held.Gone(s.deleted)
	}
	resume()
	r.report(s)
	if err == nil {
		r.lose(s.lost)
	}
	return len(s.restored), err
}

// failing returns err, or a *GroupLostError if the group is missing and must not be recreated.
func (r *healer) failing(err error) error {
	if r.cfg.OnLostGroup == LostGroupFail && fault.Judge(err) == fault.LostGroup {
		return &GroupLostError{Key: r.cfg.Key, Group: r.cfg.Group, Position: r.last.get().String()}
	}
	return err
}

// position is the last known position of the group, where a lost group starts again.
type position struct {
	mu sync.Mutex
	id redisio.ID
	n  int // how often it was set by delivered entries
}

func (p *position) get() redisio.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.id
}

// set records the last delivered entry, or the start of a recreated group.
func (p *position) set(id redisio.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.id = id
	p.n++
}

// asked records the server's answer, unless entries were delivered since the question, when version
// was read.
func (p *position) asked(id redisio.ID, version int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n == version {
		p.id = id
	}
}

func (p *position) version() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// lower records that the group has not delivered id yet.
func (p *position) lower(id redisio.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id.Compare(p.id) <= 0 {
		p.id = id.Prev()
		p.n++
	}
}
