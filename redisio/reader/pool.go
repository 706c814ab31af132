package reader

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// Idea of this file: entries that any reader may take are pending for a reserved consumer. Readers
// list the entries of one consumer cheaply, however long the pending list of the group is. There
// are two such pools.
//
// ReleasedConsumer has entries with a known history: released entries, and entries that failed for
// the second time or more often. Such an entry is due when it has been idle for half a lease.
// Readers look every second. So another reader takes it before the reader that failed on it, and
// long before XAUTOCLAIM, which takes what was idle for a whole lease.
//
// SuspectsConsumer has entries of readers that probably died while they held them. One of them may
// have killed it. If the next reader read all of them together, it would die too, and after some
// crashes all would have reached MaxDeliveries. So readers hand out suspects in groups, and read
// nothing else while a group is in flight. No other reader of the process hands out suspects
// meanwhile. The groups shrink with each delivery: the first has any size, the second 512, the
// third 32, and from the fourth delivery on each suspect is alone (see together). An entry that
// waits in the pool is not delivered, and its count stays.
//
// The arithmetic: take an entry that kills its process within a lease. Its first delivery counts
// for all entries in flight, the second for the 512 of its group, the third for 32, and all further
// ones for itself only. An innocent entry is delivered three times by the killer's fault. The
// fourth time it is alone and survives. With MaxDeliveries 16 only the killer reaches 16. With
// MaxDeliveries 3 the groups are 32 and 1, with 2 each suspect is alone at once. Other readers of
// the process may have other entries in flight. A crash makes these suspects once, and they are
// handed out when the killer is not in flight.
//
// Each wait is bounded by a lease, because a stage such as a window may hold an entry for long.

const (
	reservedPrefix = "redisio:" // of consumers that are not readers
	firstGroup     = 512        // suspects in flight together in their second delivery
	secondGroup    = 32         // … in their third
	aloneFrom      = 4          // the delivery in which a suspect is alone
)

// pools is what a reader knows of the pools.
type pools struct {
	turn   *turnOfOne // of the process
	paused bool       // reading paused until nothing is held; suspects come next
	poolAt time.Time  // when to look into the pools
}

// scriptShelve: ARGV group, me, pool, deliveries to take back, ids… Moves entries that are pending
// for me to a pool, with idle time 0. Acks trimmed entries and returns their number.
const scriptShelve = `
local g, me, pool, back, gone = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), 0
for i = 5, #ARGV do
  local p = redis.call('XPENDING', KEYS[1], g, ARGV[i], ARGV[i], 1, me)[1]
  if p then
    local n = math.max(0, math.min(p[4], 1e15) - back)
    if not redis.call('XCLAIM', KEYS[1], g, pool, 0, ARGV[i], 'IDLE', 0, 'RETRYCOUNT', n, 'JUSTID')[1] then
      redis.call('XACK', KEYS[1], g, ARGV[i])
      gone = gone + 1
    end
  end
end
return gone`

// shelve moves entries that are pending for this consumer, and not held, to the suspects. back is 1
// if the server may have counted a delivery that did not arrive. Then the count is lowered.
func (r *fetcher) shelve(ctx context.Context, ids []string, back int) error {
	for page := range slices.Chunk(ids, script.PageSize) {
		args := make([]any, 0, 4+len(page))
		args = append(args, r.cfg.Group, r.cfg.Consumer, redisio.SuspectsConsumer, back)
		for i := range page {
			args = append(args, &page[i])
		}
		gone, err := r.reading.Eval(ctx, scriptShelve, []string{r.cfg.Key}, args...).Int()
		if err != nil {
			return err
		}
		r.forgetCounted(page)
		r.held.Remember(page, time.Now(), r.cfg.Lease)
		r.emitCount(redisio.EventTrimmed, gone)
		r.poolAt = time.Now()
	}
	return nil
}

// fromPool takes released entries that are due, or else a group of suspects. Before it takes
// suspects, all held entries must be settled. If some are not, it begins a pause and returns
// errPaused.
func (r *fetcher) fromPool(ctx context.Context, count int, b *redisio.Batch) error {
	now := time.Now()
	r.poolAt = now.Add(r.lookEvery())
	released, waiting, err := r.lookIntoPools(ctx)
	if err != nil {
		return err
	}
	if !r.paused {
		if ids := r.held.Unknown(released); len(ids) > 0 { // entries of this reader have their own due time
			return r.takeFree(ctx, ids[:min(len(ids), count)], redisio.ReleasedConsumer, b)
		}
	}
	if len(waiting) == 0 {
		r.endTurn()
		return nil
	}
	if !r.turn.take(r, now.Add(r.cfg.Lease)) {
		r.paused, r.poolAt = false, now.Add(r.lookEvery()/8)
		return nil
	}
	if r.held.Count() > 0 && !r.paused {
		if longest(waiting) < 2*r.lookEvery() { // idle readers need not wait, so they come first
			r.endTurn()
			return nil
		}
		r.paused = true
		r.held.Pause(nil, now.Add(r.cfg.Lease))
		return errPaused
	}
	r.paused = false
	group := pickSuspects(waiting, count, int64(r.cfg.MaxDeliveries))
	err = r.takeFree(ctx, group, redisio.SuspectsConsumer, b)
	if len(b.Entries) == 0 {
		r.endTurn()
		return err
	}
	r.held.Pause(b.Entries, time.Now().Add(r.cfg.Lease))
	return err
}

// takeFree takes entries from a pool. It skips those that another reader has taken meanwhile.
func (r *fetcher) takeFree(ctx context.Context, ids []string, pool string, b *redisio.Batch) error {
	had := len(b.Entries)
	_, err := r.take(ctx, ids, 1, pool, b)
	if err != nil && err != resp.ErrFront { // after ErrFront, round searches for the rest
		r.distrust()
	}
	if len(b.Entries) > had {
		r.poolAt = time.Now() // there may be more
		r.emit(redisio.Event{Kind: redisio.EventReclaimed, IDs: entryIDs(b.Entries[had:])})
	}
	return err
}

// lookIntoPools returns the released entries that are due, and the suspects. It also makes this
// consumer known: before Redis 7.2 a read without a result does not, and a reader that failed on an
// entry asks the server for other consumers.
func (r *fetcher) lookIntoPools(ctx context.Context) (released []string, suspects []redis.XPendingExt, err error) {
	pipe := r.reading.Pipeline()
	ask := func(consumer string, idle time.Duration, n int64) *redis.XPendingExtCmd {
		return pipe.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: r.cfg.Key, Group: r.cfg.Group, Idle: idle,
			Start: "-", End: "+", Count: n, Consumer: consumer})
	}
	due := ask(redisio.ReleasedConsumer, r.dueIdle(), script.PageSize)
	waiting := ask(redisio.SuspectsConsumer, 0, firstGroup)
	here := pipe.XGroupCreateConsumer(ctx, r.cfg.Key, r.cfg.Group, r.cfg.Consumer)
	_, _ = pipe.Exec(ctx) // each command has its own error
	for _, cmd := range []*redis.XPendingExtCmd{due, waiting} {
		if err := cmd.Err(); err != nil && err != redis.Nil {
			return nil, nil, err
		}
	}
	if here.Val() > 0 && r.held.Waiting() > 0 {
		r.wiped.Store(true) // as look does
	}
	for _, p := range due.Val() {
		released = append(released, p.ID)
	}
	return released, waiting.Val(), nil
}

func longest(waiting []redis.XPendingExt) (idle time.Duration) {
	for i := range waiting {
		idle = max(idle, waiting[i].Idle)
	}
	return idle
}

// pickSuspects chooses a group of at most count suspects: the oldest one, and others that may be in
// flight with it. most is MaxDeliveries.
func pickSuspects(waiting []redis.XPendingExt, count int, most int64) (ids []string) {
	for _, p := range waiting {
		if size := together(p.RetryCount, most); len(ids) < min(count, size) {
			count = min(count, size)
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// together returns the largest group for a suspect that was delivered so often.
func together(delivered, most int64) int {
	alone := int64(aloneFrom)
	if most > 0 {
		alone = min(alone, most)
	}
	switch next := delivered + 1; {
	case most > 0 && delivered == most+1: // no handler gets it any more, see luaDeliver
		return script.PageSize
	case next >= alone:
		return 1
	case next == alone-1:
		return secondGroup
	default:
		return firstGroup
	}
}

// suspectsTurn determines which reader of the process may hand out suspects. It is global because a
// crash ends all readers of the process.
var suspectsTurn turnOfOne

// turnOfOne belongs to one reader at a time. The time is bounded.
type turnOfOne struct {
	mu    sync.Mutex
	who   *fetcher
	until time.Time
}

func (t *turnOfOne) take(r *fetcher, until time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.who != nil && t.who != r && time.Now().Before(t.until) {
		return false
	}
	t.who, t.until = r, until
	return true
}

func (t *turnOfOne) end(r *fetcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.who == r {
		t.who = nil
	}
}

// endTurn lets other readers of the process hand out suspects.
func (r *fetcher) endTurn() {
	r.paused = false
	r.turn.end(r)
}
