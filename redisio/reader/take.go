package reader

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/held"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// take fetches entries that are pending for this consumer or for a pool, records them as held and
// adds them to b. It returns the IDs of trimmed entries, which the script has acked.
//
// With bump 1 the server adds one delivery: only one, also if replies are lost and take is called
// again.
func (r *fetcher) take(
	ctx context.Context,
	ids []string,
	bump int,
	pool string,
	b *redisio.Batch,
) (gone []string, err error) {
	done, err := r.beginTaking(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if bump == 0 || len(r.counted) == 0 {
		return r.takeAll(ctx, ids, bump, pool, b)
	}
	first, again := make([]string, 0, len(ids)), []string(nil)
	for _, id := range ids {
		if _, is := r.counted[id]; is {
			again = append(again, id)
		} else {
			first = append(first, id)
		}
	}
	if gone, err = r.takeAll(ctx, again, 0, pool, b); err != nil {
		return gone, err
	}
	more, err := r.takeAll(ctx, first, bump, pool, b)
	return append(gone, more...), err
}

// noteCounted remembers the entries that were missing in the reply of a take, because the take may
// have counted their delivery.
func (r *fetcher) noteCounted(ids []string) {
	if r.counted == nil || len(r.counted) > held.MaxDelayed {
		r.counted = make(map[string]struct{})
	}
	for _, id := range r.held.NotHeld(ids) {
		r.counted[id] = struct{}{}
	}
}

func (r *fetcher) forgetCounted(ids []string) {
	for _, id := range ids {
		if len(r.counted) == 0 {
			return
		}
		delete(r.counted, id)
	}
}

func (r *fetcher) takeAll(
	ctx context.Context,
	ids []string,
	bump int,
	pool string,
	b *redisio.Batch,
) (gone []string, err error) {
	if len(ids) > 0 && r.loop.asking.Stuck() {
		return nil, r.withhold(ctx, ids[0], pool, b)
	}
	idle := int64(0)
	if pool == redisio.ReleasedConsumer {
		idle = r.dueIdle().Milliseconds()
	}
	for len(ids) > 0 {
		chunk := ids[:min(len(ids), script.PageSize)]
		ids = ids[len(chunk):]
		args := make([]any, 0, 10+len(chunk))
		args = append(args, "eval", script.ScriptTake, 1, r.cfg.Key, r.cfg.Group, r.cfg.Consumer,
			bump, r.cfg.MaxDeliveries, pool, idle)
		for i := range chunk {
			args = append(args, &chunk[i])
		}
		sent := time.Now()
		raw, cut := r.raw(ctx, 3, false, args)
		if cut != nil && cut != resp.ErrFront {
			if bump > 0 && fault.Judge(cut) == fault.Broken {
				r.noteCounted(chunk)
			}
			return gone, cut
		}
		n := len(b.Entries)
		err = resp.ParsedFront(b, n, cut, resp.ParseEntries(raw, 1, b))
		kept := n
		for i := n; i < len(b.Entries); i++ {
			if !b.Entries[i].Deleted {
				b.Entries[kept] = b.Entries[i]
				kept++
				continue
			}
			gone = append(gone, b.Entries[i].ID)
		}
		deleted := len(b.Entries) - kept
		b.Entries = b.Entries[:n+len(r.held.Add(b.Entries[n:kept], sent))]
		r.emitCount(redisio.EventTrimmed, deleted)
		if err != nil {
			if bump > 0 {
				r.noteCounted(chunk)
			}
			return gone, err
		}
		r.forgetCounted(chunk)
	}
	return gone, nil
}

// withhold returns an entry without its fields, because no reply with them arrives and the entry
// must not block all others.
func (r *fetcher) withhold(ctx context.Context, id, pool string, b *redisio.Batch) error {
	sent := time.Now()
	if pool != "" { // move it to this consumer and count a delivery
		err := r.reading.Eval(ctx, scriptShelve, []string{r.cfg.Key}, r.cfg.Group, pool, r.cfg.Consumer, -1, id).Err()
		if err != nil {
			return err
		}
	}
	p, err := r.reading.XPendingExt(ctx,
		&redis.XPendingExtArgs{Stream: r.cfg.Key, Group: r.cfg.Group, Start: id, End: id, Count: 1,
			Consumer: r.cfg.Consumer}).
		Result()
	if err != nil || len(p) == 0 { // taken by another consumer meanwhile
		return err
	}
	at, err := redisio.ParseID(id)
	if err != nil {
		return err
	}
	n := len(b.Entries)
	b.Entries = append(
		b.Entries,
		redisio.Entry{ID: id, Position: at, Deliveries: max(1, p[0].RetryCount), Withheld: true},
	)
	b.Entries = b.Entries[:n+len(r.held.Add(b.Entries[n:], sent))]
	r.forgetCounted([]string{id})
	r.emit(redisio.Event{Kind: redisio.EventWithheld, IDs: []string{id}})
	return nil
}

// redeliver takes the delayed entries that are due.
func (r *Group) redeliver(ctx context.Context, count int, b *redisio.Batch) error {
	ids, how := r.held.Due(time.Now(), count)
	forgotten := func(id string) bool { return how[id].State == held.Suspect } // after a lease
	ids = slices.DeleteFunc(ids, forgotten)
	if len(ids) == 0 {
		return nil
	}
	gone, err := r.take(ctx, ids, 1, redisio.ReleasedConsumer, b)
	if err != nil {
		r.held.PutBack(ids, how) // those that the reply did not bring are still due
		return err
	}
	if ids = without(r.held.NotHeld(ids), gone); len(ids) > 0 {
		if err := r.reviveDue(ctx, ids, how); err != nil {
			r.held.PutBack(ids, how)
			return err
		}
	}
	if slices.ContainsFunc(b.Entries, func(e redisio.Entry) bool { return how[e.ID].Offered }) {
		r.leftAlone()
	}
	return nil
}
