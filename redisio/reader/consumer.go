package reader

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/held"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// consumer is what all parts of a Group share: its place in the group, its connections, its entries
// and its event counters. It is safe for concurrent use, except wire and reading.
type consumer struct {
	cfg    GroupConfig
	rdb    redis.UniversalClient // the caller's: never closed
	held   held.Set
	last   position
	clock  redisio.Clock
	counts counts

	wire    *conn.Wire  // the blocking connection, for XREADGROUP and all commands that fetch entries
	reading conn.Client // other commands of Read, and all if wire is nil; no retries
	control conn.Client // for settling, renewing and queries, which are safe to repeat
	acks    *conn.Lines // for XACK; nil if go-redis sends it
	xack    []byte      // the head of an XACK, encoded
}

// dial prepares the connections. It does no I/O.
func (r *consumer) dial() {
	r.reading = conn.Derive(r.rdb, conn.Purpose{Conns: 2, ReadTimeout: r.cfg.Block + conn.ReplyMargin})
	r.control = conn.Derive(r.rdb, conn.Purpose{Conns: 4, Retries: true})
	r.wire = conn.NewWire(r.reading, r.cfg.Key, r.cfg.Block)
	if _, own := r.control.Single(); own {
		r.acks = conn.NewLines(r.control)
		r.xack = nil
		for _, s := range []string{"xack", r.cfg.Key, r.cfg.Group} {
			r.xack = resp.AppendBulk(r.xack, s)
		}
	}
}

// hangUp closes the connections.
func (r *consumer) hangUp() error {
	r.wire.Close()
	r.acks.Close()
	return errors.Join(r.reading.Release(), r.control.Release())
}

// create creates the group, and the stream if missing. An existing group is no error, because two
// readers may race.
func (r *consumer) create(ctx context.Context, c conn.Client, start string) error {
	err := c.XGroupCreateMkStream(ctx, r.cfg.Key, r.cfg.Group, start).Err()
	if err == nil || fault.GroupExists(err) {
		// Before Redis 7.2 a consumer that waits for its first entry is not in the group, so it
		// would be invisible.
		_ = c.XGroupCreateConsumer(ctx, r.cfg.Key, r.cfg.Group, r.cfg.Consumer).Err() // reading creates it too
		return nil
	}
	if fault.IsFull(err) { // a full server says so without checking that the group exists
		if _, posErr := r.delivered(ctx, c); posErr == nil {
			return nil // reading is what empties the server
		}
	}
	return err
}

// delivered returns the last delivered ID of the group.
func (r *consumer) delivered(ctx context.Context, c conn.Client) (redisio.ID, error) {
	groups, err := c.XInfoGroups(ctx, r.cfg.Key).Result()
	if err != nil {
		return redisio.ID{}, err
	}
	for _, g := range groups {
		if g.Name == r.cfg.Group {
			return redisio.ParseID(g.LastDeliveredID)
		}
	}
	return redisio.ID{}, fault.ReplyError("NOGROUP the group vanished")
}

// ownPending returns a page of the entries that are pending for this consumer. It asks on the wire,
// or through c if w is nil.
func (r *consumer) ownPending(
	ctx context.Context,
	w *conn.Wire,
	c conn.Client,
	from redisio.ID,
) (page []redis.XPendingExt, last redisio.ID, err error) {
	args := []any{"xpending", r.cfg.Key, r.cfg.Group, from.String(), "+", script.PageSize, r.cfg.Consumer}
	raw, err := conn.RawReply(ctx, w, c, 1, conn.Limit{}, args)
	if err == nil {
		page, err = parsePending(raw)
	}
	if err != nil || len(page) == 0 {
		return nil, redisio.ID{}, err
	}
	last, err = redisio.ParseID(page[len(page)-1].ID)
	return page, last, err
}

// parsePending parses the reply of XPENDING with a range: a list of [id, consumer, idle, deliveries].
func parsePending(raw []byte) (page []redis.XPendingExt, err error) {
	w := resp.Walker{Buf: raw}
	_, n, err := w.Header()
	if err == resp.ErrNilReply {
		return nil, nil
	}
	for range n {
		_, _, err := w.Header()
		id, idErr := w.Text()
		name, nameErr := w.Text()
		idle, idleErr := w.Number()
		deliveries, countErr := w.Number()
		if err := errors.Join(err, idErr, nameErr, idleErr, countErr); err != nil {
			return nil, err
		}
		page = append(page, redis.XPendingExt{ID: string(id), Consumer: string(name),
			Idle: time.Duration(idle) * time.Millisecond, RetryCount: deliveries})
	}
	return page, err
}

// forget deletes the consumer unless it has pending entries. In that case another reader of the
// group deletes it after these are settled, see ReapAfter.
func (r *consumer) forget(ctx context.Context) error {
	err := r.control.Eval(ctx, script.ScriptLeave, []string{r.cfg.Key}, r.cfg.Group, r.cfg.Consumer).Err()
	if err != nil && !fault.RefusedKeys(err) {
		return fmt.Errorf("redisio: delete consumer of group %q of %q: %w", r.cfg.Group, fault.KeyName(r.cfg.Key), err)
	}
	return nil
}

// mayRecover returns an error if the user lacks a right that settling or recovering needs.
func (r *consumer) mayRecover(ctx context.Context) error {
	return script.RightsOf(
		r.control.Eval(ctx, script.ScriptRights, []string{r.cfg.Key}, "redisio:probe:"+rand.Text(), r.cfg.Consumer),
	)
}

// warnOfEviction emits an event if a full server deletes whole streams, with all that is pending.
// It emits none if the server does not answer.
func (r *consumer) warnOfEviction(ctx context.Context) {
	info, err := r.reading.Info(ctx, "memory").Result()
	if err != nil {
		return
	}
	_, rest, _ := strings.Cut(info, "maxmemory_policy:")
	policy, _, _ := strings.Cut(rest, "\n")
	if policy = strings.TrimSpace(policy); strings.HasPrefix(policy, "allkeys-") {
		r.emit(
			redisio.Event{
				Kind: redisio.EventEvictable,
				Err: fmt.Errorf("redisio: maxmemory-policy is %s: a full server deletes streams; "+
					"choose noeviction or a volatile-* policy", policy),
			},
		)
	}
}

// lookEvery is the interval at which a reader looks into the pools.
func (r *consumer) lookEvery() time.Duration {
	return max(time.Millisecond, min(time.Second, r.cfg.Lease/16))
}

// dueIdle is the idle time with which an entry of ReleasedConsumer is due.
func (r *consumer) dueIdle() time.Duration { return r.cfg.Lease / 2 }

func (r *consumer) emit(e redisio.Event) {
	if e.Count == 0 {
		e.Count = len(e.IDs)
	}
	r.counts.add(&e)
	if r.cfg.OnEvent == nil {
		return
	}
	e.Key, e.Group = r.cfg.Key, r.cfg.Group
	fault.Notify("GroupConfig.OnEvent", func() { r.cfg.OnEvent(e) })
}

// failed returns the error of an operation on n entries.
func (r *consumer) failed(verb string, n int, err error) error {
	return fmt.Errorf(
		"redisio: %s %s of %q: %w",
		verb,
		fault.Plural(n, "entry", "entries"),
		fault.KeyName(r.cfg.Key),
		err,
	)
}

// emitCount emits an event about n entries, if there are any.
func (r *consumer) emitCount(kind redisio.EventKind, n int) {
	if n > 0 {
		r.emit(redisio.Event{Kind: kind, Count: n})
	}
}

// Stats has the numbers of events of a reader. Most are numbers of entries, see the events of the
// same names.
type Stats struct {
	Recovered     uint64 // from lost replies, or from an earlier run
	Reclaimed     uint64 // from consumers without a live lease
	Restored      uint64 // dropped from the pending list by others, and put back
	LostLeases    uint64
	StaleAcks     uint64
	LateAcks      uint64
	Trimmed       uint64 // while pending
	Recreated     uint64 // how often the group was recreated
	Reconnects    uint64 // how often reads worked again
	RenewFailures uint64 // how often renewals began to fail
}

// Stats returns the numbers of events so far.
func (r *consumer) Stats() Stats {
	n := func(k redisio.EventKind) uint64 { return r.counts[k].Load() }
	return Stats{
		Recovered:     n(redisio.EventRecovered),
		Reclaimed:     n(redisio.EventReclaimed),
		Restored:      n(redisio.EventRestored),
		LostLeases:    n(redisio.EventLeaseLost),
		StaleAcks:     n(redisio.EventStaleAcks),
		LateAcks:      n(redisio.EventLateAcks),
		Trimmed:       n(redisio.EventTrimmed),
		Recreated:     n(redisio.EventGroupRecreated),
		Reconnects:    n(redisio.EventReconnected),
		RenewFailures: n(redisio.EventRenewFailed),
	}
}

// counts has a counter for each kind of event.
type counts [redisio.EventKinds]atomic.Uint64

func (c *counts) add(e *redisio.Event) {
	n := uint64(1)
	switch e.Kind {
	case redisio.EventGroupRecreated, redisio.EventReconnected, redisio.EventReconnecting, redisio.EventRenewFailed:
	default:
		n = uint64(max(e.Count, 1))
	}
	c[e.Kind].Add(n)
}
