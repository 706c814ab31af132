package reader

import (
	"context"
	"fmt"

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

// heal makes a lost group, or a lost stream, again. By default it starts where we know the group was, or at the
// beginning if the stream is a new one: never at "$", which would skip. Entries we hold are put back into
// the pending list, so that a failure of their handling still is a redelivery.
func (r *Group) heal(ctx context.Context) error {
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
	if at, err = r.position(ctx, r.control); err != nil { // another reader may have been first
		return err
	}
	r.last.set(at)
	r.cursor, r.recoverAt, r.torn = "0-0", redisio.ID{}, true
	r.streamGone = r.streamGone || gone
	return r.mend(ctx)
}

// another reports a stream that cannot be the one that was read up to at: it ends before, or it begins behind and
// nothing was ever taken from it.
func another(info *redis.XInfoStream, at redisio.ID) bool {
	top, err := redisio.ParseID(info.LastGeneratedID)
	if err != nil || top.Compare(at) < 0 {
		return true
	}
	first, err := redisio.ParseID(info.FirstEntry.ID)
	return err == nil && !at.IsZero() && at.Compare(first) < 0 && info.EntriesAdded > 0 &&
		info.EntriesAdded == info.Length
}

// failing returns err, or what it means when the group may not be made again.
func (r *Group) failing(err error) error {
	if r.cfg.OnLostGroup == LostGroupFail && fault.Judge(err) == fault.LostGroup {
		return &GroupLostError{Key: r.cfg.Key, Group: r.cfg.Group, Position: r.last.get().String()}
	}
	return err
}
