package reader

import (
	"context"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

// Idea: while a reply is decoded and handled, the server should work on the next one. So after a
// full reply of new entries the next read is sent at once, if the caller has asked for more than one
// reply has. A goroutine receives it, parses it and records its entries as held, so that their
// leases are renewed. It has the token meanwhile, and the next Read waits for it. Only a read that
// does not block is sent ahead, and only if no other duty is due.

// ahead is the read that was sent ahead. Owned by the holder of token.
type ahead struct {
	sent    time.Time // when, until the reply is there
	brought bool      // batch and err are what it returned
	batch   redisio.Batch
	err     error
}

// goAhead sends the next read after one that returned b. count and maxBytes are the bounds for both.
func (r *Group) goAhead(ctx context.Context, count int, maxBytes int64, b *redisio.Batch) {
	full := len(b.Entries)
	if count < 2*full || r.wire == nil || r.cfg.AtMostOnce {
		return
	}
	select {
	case <-r.token:
	default:
		return
	}
	left := maxBytes - int64(b.Bytes)
	if r.drained || r.ahead.brought || maxBytes > 0 && left <= 0 || r.busy() || ctx.Err() != nil ||
		r.usable() != nil {
		r.leave()
		return
	}
	n := r.asking.Count(min(count-full, r.cfg.MaxCount), left)
	r.bound(n, left)
	r.ahead.sent = time.Now()
	if n < full || !r.wire.Begin(r.readArgs(n, r.newerFor(false), 0)) {
		r.ahead.sent = time.Time{}
		r.leave()
		return
	}
	go r.bring(ctx, n) // holds the token, for which Read and Close wait
}

// busy reports whether another duty than reading new entries is due.
func (r *Group) busy() bool {
	now := time.Now()
	return slices.ContainsFunc(r.duties[:len(r.duties)-1], func(d duty) bool {
		return !now.Before(d.due(r))
	})
}

// bring receives the reply to the read that was sent ahead.
func (r *Group) bring(ctx context.Context, n int) {
	defer r.leave()
	r.ahead.err = r.judge(r.fresh(ctx, n, &r.ahead.batch, time.Time{}), &r.ahead.batch)
	r.ahead.brought = r.ahead.err != nil || len(r.ahead.batch.Entries) > 0
}

// take moves up to count entries to b.
func (a *ahead) take(count int, b *redisio.Batch) error {
	err := a.err
	if len(a.batch.Entries) <= count {
		*b, *a = a.batch, ahead{}
		return err
	}
	size := 0
	for _, e := range a.batch.Entries[:count] {
		size += len(e.ID) + e.Fields.Size()
	}
	b.Entries, b.Bytes = a.batch.Entries[:count:count], size
	a.batch.Entries, a.batch.Bytes, a.err = a.batch.Entries[count:], a.batch.Bytes-size, nil
	return err
}

// Unread gives back the entries that were read ahead, as if they had not been delivered: any reader
// of the group can take them at once. Call it if no Read follows soon. Close includes it.
func (r *Group) Unread(ctx context.Context) error {
	if err := r.enter(ctx); err != nil {
		return err
	}
	defer r.leave()
	return r.unread(ctx)
}

// unread is Unread. The caller holds the token. After an error Close releases the entries.
func (r *Group) unread(ctx context.Context) error {
	ids := entryIDs(r.ahead.batch.Entries)
	if len(ids) == 0 {
		return nil
	}
	r.ahead = ahead{}
	return r.undeliver(ctx, ids)
}
