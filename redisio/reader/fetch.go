package reader

import (
	"context"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
)

// fetcher has the commands that fetch entries, and the state that says which entries to fetch. All
// of it is owned by the holder of token.
type fetcher struct {
	*leases
	loop *loop
	ownSearch
	idleSearch
	pools

	caps     redisio.Capabilities
	most     int                 // bytes of a reply; 0: no limit
	maxBytes int64               // bound of the caller of Read
	counted  map[string]struct{} // entries missing in a reply; their delivery may be counted already
	newFirst bool                // the last entries were old ones, so new ones come first
	drained  bool                // the last read returned all new entries
	ahead    ahead
}

// Idea: since Redis 8.4 a read of new entries can also reclaim entries without a live lease (CLAIM),
// in one call. A blocked read wakes when such an entry appears. XAUTOCLAIM scans the pending list
// page by page and cannot block.
//
// But CLAIM takes every entry that was idle for a lease, also those of this reader, and adds a
// delivery. A late renewal would bring held entries closer to the dead letters and would reset the
// delay of nacked ones. XAUTOCLAIM … JUSTID does not count, so a late renewal costs nothing there.
// So a reader uses CLAIM only while it holds and remembers nothing. Then all its entries come from
// its own reads, one at a time, and the server finds none of them. Otherwise it uses XAUTOCLAIM, as
// on older servers.
//
// CLAIM skips entries that were trimmed while pending and leaves them in the pending list. So
// XAUTOCLAIM, which drops them, still runs now and then.

// sweepEvery is the number of ReclaimEvery between two XAUTOCLAIM for trimmed entries.
const sweepEvery = 4

// newer are options of one read that Redis 7.0 does not have.
type newer struct {
	claim   bool
	maxSize int64 // 0: no limit
}

// newerFor returns the options for a read. CLAIM costs some bytes per entry. So while replies are
// full of new entries, CLAIM is used only as often as XAUTOCLAIM would be.
func (r *fetcher) newerFor(wait bool) (n newer) {
	n.claim = wait && r.claims() && (r.drained || !time.Now().Before(r.reclaimAt))
	if r.caps.MaxSize {
		n.maxSize = max(0, r.maxBytes)
	}
	return n
}

// claims reports whether CLAIM may be used now. If it is true, it stays true until entries are read.
func (r *fetcher) claims() bool { return r.caps.Claim && !r.cfg.AtMostOnce && r.held.Empty() }

// fresh reads new entries. It blocks at most until the given time, and not at all if that is zero.
func (r *fetcher) fresh(ctx context.Context, count int, b *redisio.Batch, until time.Time) error {
	with := r.newerFor(!until.IsZero())
	err := r.readGroup(ctx, count, with, b, until)
	if fault.Judge(err) != fault.Permanent || with == (newer{}) {
		return err
	}
	// A server that does not know the options may have replaced one that does.
	if err = r.readGroup(ctx, count, newer{}, b, until); fault.Judge(err) == fault.Fine {
		r.caps = redisio.Capabilities{}
	}
	return err
}

// readArgs returns the arguments of one XREADGROUP. It does not block if block is 0.
func (r *fetcher) readArgs(count int, with newer, block time.Duration) []any {
	args := make([]any, 0, 16)
	args = append(args, "xreadgroup", "group", r.cfg.Group, r.cfg.Consumer, "count", count)
	if with.maxSize > 0 {
		args = append(args, "maxsize", with.maxSize)
	}
	if block > 0 {
		args = append(args, "block", block.Milliseconds())
	}
	if with.claim {
		args = append(args, "claim", r.cfg.Lease.Milliseconds())
	}
	if r.cfg.AtMostOnce {
		args = append(args, "noack")
	}
	return append(args, "streams", r.cfg.Key, ">")
}

// readGroup sends one XREADGROUP, unless goAhead has, and receives its reply.
func (r *fetcher) readGroup(ctx context.Context, count int, with newer, b *redisio.Batch, until time.Time) error {
	wait := !until.IsZero()
	var block time.Duration
	if wait {
		block = max(r.wait(with.claim, until), time.Millisecond) // BLOCK 0 would never end
	}
	args := r.readArgs(count, with, block)
	sent := time.Now()
	if !r.ahead.sent.IsZero() {
		sent, r.ahead.sent = r.ahead.sent, time.Time{}
	}
	raw, cut := r.raw(ctx, int8(len(args)-2), true, args)
	if cut != nil && cut != resp.ErrFront {
		return cut
	}
	had := len(b.Entries)
	old, err := resp.ParseRead(raw, b) // entries before a malformed one are delivered, so they are returned
	err = resp.ParsedFront(b, had, cut, err)
	r.drained = len(b.Entries) < count && cut == nil
	if len(b.Entries) == 0 && err == nil && wait {
		fault.Sleep(ctx, r.loop.stop, r.loop.idling.pause(block, time.Since(sent)))
		return nil
	}
	r.loop.idling = idling{}
	claimed := old
	if err := r.accept(ctx, b, &old, sent); err != nil {
		return err
	}
	if with.claim && (err == nil || claimed > 0) {
		r.tookOver(claimed, b.Entries[:min(old, len(b.Entries))])
	}
	return err
}

// accept records entries as held. The first old ones of them were delivered before.
func (r *fetcher) accept(ctx context.Context, b *redisio.Batch, old *int, sent time.Time) error {
	n := len(b.Entries)
	if n > *old {
		if at := b.Entries[n-1].Position; !at.IsZero() {
			r.last.set(at)
			r.clock.Saw(at.Time(), time.Now())
		}
	}
	if n == 0 || r.cfg.AtMostOnce {
		return nil
	}
	err := r.disown(ctx, b.Entries[*old:])
	if suspects := dropSuspects(b, old); err == nil && len(suspects) > 0 {
		err = r.shelve(ctx, suspects, 1)
	}
	if err != nil {
		r.distrust() // the entries are pending for this consumer, and not held
		b.Reset()
		return err
	}
	b.Entries = r.held.Add(b.Entries, sent)
	return nil
}

// tookOver records the number of entries that CLAIM returned. now are those that are returned at
// once. CLAIM takes the oldest entries first, so if it returned none, none is left.
func (r *fetcher) tookOver(claimed int, now []redisio.Entry) {
	if claimed == 0 {
		r.reclaimAt = r.nextReclaim()
		return
	}
	r.newFirst, r.reclaimAt = true, time.Now()
	if len(now) > 0 {
		r.emit(redisio.Event{Kind: redisio.EventReclaimed, IDs: entryIDs(now)})
	}
}

// dropSuspects removes those of the first n entries that were delivered before, and returns their
// IDs. CLAIM takes all that it finds, but suspects are delivered in groups.
func dropSuspects(b *redisio.Batch, n *int) (ids []string) {
	if *n == 0 {
		return nil
	}
	kept := 0
	for i, e := range b.Entries {
		if i < *n && e.Deliveries > 1 {
			ids = append(ids, e.ID)
			continue
		}
		b.Entries[kept] = e
		kept++
	}
	b.Entries = b.Entries[:kept]
	*n -= len(ids)
	return ids
}

// wait returns how long to block: at most until the next duty.
func (r *fetcher) wait(claim bool, until time.Time) time.Duration {
	if r.cfg.AtMostOnce {
		return r.cfg.Block
	}
	now := time.Now()
	// The lease of an entry begins when the read is sent, so it would lapse during a longer block.
	d := min(r.cfg.Block, r.cfg.Lease/3, until.Sub(now))
	if !claim { // a read with CLAIM is next, or XAUTOCLAIM
		d = min(d, r.reclaimAt.Sub(now))
	}
	return d
}

// raw sends a command on the blocking connection and returns the unparsed reply, or its front with
// ErrFront. The parser finds an error reply.
func (r *fetcher) raw(ctx context.Context, keyPos int8, streams bool, args []any) ([]byte, error) {
	return conn.RawReply(ctx, r.wire, r.reading, keyPos, conn.Limit{Bytes: r.most, Streams: streams}, args)
}

// Idea: while a reply is decoded and handled, the server should work on the next one. So after a full
// reply of new entries the next read is sent at once, if the caller has asked for more than one reply
// has. A goroutine receives it, parses it and records its entries as held, so that their leases are
// renewed. It has the token meanwhile, and the next Read waits for it. Only a read that does not
// block is sent ahead, and only if no other duty is due.

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
	n := r.asking.Count(min(count-full, r.cfg.MaxCount), min(left, conn.LargeReply))
	r.bound(n, left)
	r.ahead.sent = time.Now()
	if 2*n < full || !r.wire.Begin(r.readArgs(n, r.newerFor(false), 0)) {
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
	for i := range count {
		size += a.batch.Entries[i].Size()
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
