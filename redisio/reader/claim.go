package reader

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
)

// Idea of this file: since Redis 8.4 a read of new entries can take over what has no live lease as well (CLAIM), in one
// call, and a read that waits is woken when something becomes so. XAUTOCLAIM goes through the
// pending list page by page, and can't wait.
//
// But CLAIM takes whatever is idle for a lease, ours too, and counts a delivery of it. XAUTOCLAIM …
// JUSTID does not count, so a renewal that is late costs nothing there; here it would bring entries
// that are in hand closer to the dead letters, and set back the clock of those that were released
// while the read waited. So CLAIM is for a reader that has nothing: nothing held, nothing given
// back that it still remembers. All that it comes to have comes from its reads, one at a time, so
// whenever the server runs the command there is nothing of ours for it to find. Who has something
// looks by XAUTOCLAIM, as on older servers.
//
// CLAIM passes over entries that were trimmed while pending, and leaves them in the pending list,
// where each CLAIM has to pass over them again. So XAUTOCLAIM, which drops them, is still called
// now and then.

// sweepEvery is how many times ReclaimEvery are between two looks of XAUTOCLAIM for trimmed entries.
const sweepEvery = 4

// newer are options of one read that Redis 7.0 does not have.
type newer struct {
	claim   bool
	maxSize int64 // 0: no bound
}

// newerFor says which of them a read is to have. With CLAIM each entry costs some bytes more: as
// long as whole replies of new entries come, it goes along only as often as XAUTOCLAIM would be
// called.
func (r *Group) newerFor(maxBytes int64, wait bool) (n newer) {
	n.claim = wait && r.claims() && (r.dry || !time.Now().Before(r.reclaim))
	if r.caps.MaxSize {
		n.maxSize = max(0, maxBytes)
	}
	return n
}

// claims reports whether CLAIM may be used now. What is true stays so until entries are read.
func (r *Group) claims() bool { return r.caps.Claim && !r.cfg.NoAck && r.held.Empty() }

// lookAgain is when XAUTOCLAIM is to look for entries without a lease.
func (r *Group) lookAgain(claims bool) time.Time {
	if claims {
		return r.sweep
	}
	return r.reclaim
}

// tookOver notes the number of entries that CLAIM brought. now are those that are handed out at once.
// CLAIM takes the oldest first: if it brought none, none is left.
func (r *Group) tookOver(claimed int, now []redisio.Entry) {
	if claimed == 0 {
		r.reclaim = r.nextReclaim()
		return
	}
	r.again, r.reclaim = true, time.Now()
	if len(now) > 0 {
		r.emit(redisio.Event{Kind: redisio.EventReclaimed, IDs: entryIDs(now)})
	}
}

// dropSuspects removes those of the first n entries that were delivered before, and returns their
// ids. CLAIM takes as many as it finds, but suspects are handed out in groups.
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

// probeReads finds out which of the options that reads use the server has, without a key of its own
// and without writing: a server checks the syntax before it looks for the group, and there is no
// such group. That needs no rights that reading does not need, and asks the node that has the
// stream. Whoever can't answer has none.
func (r *Group) probeReads(ctx context.Context) (c redisio.Capabilities) {
	group := "redisio:probe:" + rand.Text()
	pipe := r.control.Pipeline()
	try := func(option string) *redis.Cmd {
		cmd := redis.NewCmd(
			ctx,
			"xreadgroup",
			"group",
			group,
			r.cfg.Consumer,
			"count",
			1,
			option,
			1<<30,
			"streams",
			r.cfg.Key,
			">",
		)
		cmd.SetFirstKeyPos(9)
		_ = pipe.Process(ctx, cmd) // only queues
		return cmd
	}
	claim, size := try("claim"), try("maxsize")
	_, _ = pipe.Exec(ctx) // each command has its own error
	has := func(cmd *redis.Cmd) bool { return redis.HasErrorPrefix(cmd.Err(), "NOGROUP") }
	return redisio.Capabilities{Claim: has(claim), MaxSize: has(size)}
}
