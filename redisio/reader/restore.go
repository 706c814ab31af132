package reader

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/held"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// claimResult has the entries with an unexpected state on the server.
type claimResult struct {
	lost          []string // pending for another consumer
	unowned       []string // pending for no consumer, and not to be restored
	restored      []string // was pending for no consumer, and is pending again
	deleted       []string // no longer in the stream
	redeliverable []string // pending for no consumer, and after the position of the group, which delivers it again
}

// add records pairs of ID and code, the reply of ScriptPark.
func (s *claimResult) add(reply []any) {
	for ; len(reply) >= 2; reply = reply[2:] {
		id, _ := reply[0].(string)
		switch reply[1] {
		case int64(script.ParkLost):
			s.lost = append(s.lost, id)
		case int64(script.ParkUnowned):
			s.unowned = append(s.unowned, id)
		case int64(script.ParkRestored):
			s.restored = append(s.restored, id)
		case int64(script.ParkDeleted):
			s.deleted = append(s.deleted, id)
		case int64(script.ParkRedeliverable):
			s.redeliverable = append(s.redeliverable, id)
		}
	}
}

// absent returns the entries that are not pending for this consumer now.
func (s *claimResult) absent() []string {
	return slices.Concat(s.lost, s.unowned, s.deleted, s.redeliverable)
}

// setIdle sets the idle times of entries that are pending for this consumer, restores those that
// are to be restored, and reports the result.
func (r *leases) setIdle(ctx context.Context, asks []held.Ask) (claimResult, error) {
	s, err := r.setIdleQuietly(ctx, asks)
	r.report(s)
	return s, err
}

// report emits events for the result of setIdleQuietly. Their receivers may settle entries, so no
// settling may be paused.
func (r *leases) report(s claimResult) {
	if len(s.restored) > 0 {
		r.emit(redisio.Event{Kind: redisio.EventRestored, IDs: s.restored})
	}
	r.emitCount(redisio.EventTrimmed, len(s.deleted))
}

func (r *leases) setIdleQuietly(ctx context.Context, asks []held.Ask) (s claimResult, err error) {
	for page := range slices.Chunk(asks, script.PageSize) {
		args := make([]any, 3, 3+5*len(page))
		args[0], args[1], args[2] = r.cfg.Group, r.cfg.Consumer, redisio.ReleasedConsumer
		for i := range page {
			args = append(args, &page[i].Id, &page[i].Idle, &page[i].N, &page[i].Undo, &page[i].Free)
		}
		reply, err := r.control.Eval(ctx, script.ScriptPark, []string{r.cfg.Key}, args...).Slice()
		if err != nil {
			return s, r.failed("script for", len(asks), err)
		}
		restored, redeliverable := len(s.restored), len(s.redeliverable)
		s.add(reply)
		if len(s.restored) > restored {
			r.wiped.Store(true)
		}
		for _, s := range s.redeliverable[redeliverable:] {
			if id, err := redisio.ParseID(s); err == nil {
				r.last.lower(id)
			}
		}
	}
	return s, nil
}

// mustLook reports whether look is needed. That delayed entries are missing, or those with a lapsed
// lease, says nothing.
func (r *leases) mustLook() bool {
	return !r.blind.Load() && (r.held.Waiting() > 0 || r.held.Lapsed(time.Now(), r.cfg.Lease))
}

// look detects that the consumer was deleted, alone or with its group. Each read would recreate the
// consumer silently, so look precedes every such command.
func (r *leases) look(ctx context.Context, c conn.Client) error {
	if !r.mustLook() {
		return nil
	}
	r.looking.Lock()
	defer r.looking.Unlock()
	n, err := c.XGroupCreateConsumer(ctx, r.cfg.Key, r.cfg.Group, r.cfg.Consumer).Result()
	gone := n > 0
	if fault.IsFull(err) { // a missing consumer cannot be created then
		gone, err = r.missing(ctx, c)
	}
	if fault.NoRight(err) {
		r.blind.Store(true) // the reader works without it
		return nil
	}
	if gone {
		r.wiped.Store(true)
	}
	return err
}

// isOther reports whether a consumer is another reader.
func (r *leases) isOther(c redis.XInfoConsumer) bool {
	return c.Name != r.cfg.Consumer && !strings.HasPrefix(c.Name, reservedPrefix)
}

// noOthers reports whether the group certainly has no other reader. The reply has all consumers.
func (r *leases) noOthers(ctx context.Context) bool {
	all, err := r.control.XInfoConsumers(ctx, r.cfg.Key, r.cfg.Group).Result()
	return err == nil && !slices.ContainsFunc(all, r.isOther)
}

// missing reports whether the consumer does not exist. The reply has all consumers.
func (r *leases) missing(ctx context.Context, c conn.Client) (bool, error) {
	all, err := c.XInfoConsumers(ctx, r.cfg.Key, r.cfg.Group).Result()
	if fault.NoRight(err) {
		return false, nil // look again when the server has room
	}
	return err == nil &&
		!slices.ContainsFunc(all, func(is redis.XInfoConsumer) bool { return is.Name == r.cfg.Consumer }), err
}

// revive restores held entries that are pending for no consumer, or gives them up.
func (r *leases) revive(ctx context.Context, ids []string) error {
	if ids = r.held.Unsettled(ids); len(ids) == 0 { // settled meanwhile
		return nil
	}
	// Restoring an entry would undo an ack that runs at the same time.
	resume, err := r.held.Quiesce(ctx)
	if err != nil {
		return err
	}
	sent := time.Now()
	ids = r.held.Unsettled(ids)
	s, err := r.setIdleSurely(ctx, r.held.Asks(ids, sent, r.cfg.Lease))
	if err == nil {
		r.held.Renewed(s.restored, sent)
		r.held.Gone(s.deleted)
	}
	resume()
	r.report(s)
	if err != nil {
		return err
	}
	r.lose(append(s.lost, s.unowned...))
	return nil
}

// setIdleSurely is setIdleQuietly, but then it also restores held entries with a lapsed lease if the
// pending list was lost.
func (r *leases) setIdleSurely(ctx context.Context, asks []held.Ask) (claimResult, error) {
	s, err := r.setIdleQuietly(ctx, asks)
	now := time.Now()
	lapsed := r.held.LapsedOf(s.unowned, now, r.cfg.Lease)
	if err != nil || len(lapsed) == 0 || !r.listLost(ctx) {
		return s, err
	}
	again := slices.DeleteFunc(slices.Clone(asks), func(a held.Ask) bool { return !slices.Contains(lapsed, a.Id) })
	for i, sure := range r.held.Asks(lapsed, now, math.MaxInt64) {
		again[i].N = sure.N
	}
	more, err := r.setIdleQuietly(ctx, again)
	return claimResult{
		lost:          append(s.lost, more.lost...),
		unowned:       append(without(s.unowned, lapsed), more.unowned...),
		restored:      append(s.restored, more.restored...),
		deleted:       append(s.deleted, more.deleted...),
		redeliverable: append(s.redeliverable, more.redeliverable...),
	}, err
}

// listLost reports whether entries that are pending for no consumer were lost with the pending list.
// Otherwise another reader may have settled those with a lapsed lease.
func (r *leases) listLost(ctx context.Context) bool {
	return r.look(ctx, r.control) == nil && r.wiped.Load() || r.noOthers(ctx)
}

// restoreRest restores, after own entries were missing in the pending list, the held entries with a
// lapsed lease and the delayed ones. The next renewal restores the others.
func (r *leases) restoreRest(ctx context.Context) error {
	var err error
	for chunk := range slices.Chunk(r.held.Stale(time.Now().Add(-r.cfg.Lease)), script.PageSize) {
		err = errors.Join(err, r.revive(ctx, chunk))
	}
	if err == nil {
		r.wiped.Store(false)
		_, err = r.restoreDelayed(ctx)
	}
	if err != nil {
		r.wiped.Store(true)
	}
	return err
}

// reviveDue restores entries that are due and were not pending for this consumer, or gives them up.
func (r *leases) reviveDue(ctx context.Context, ids []string, how map[string]held.Record) error {
	now := time.Now()
	asks := make([]held.Ask, len(ids))
	for i, id := range ids {
		asks[i] = held.Ask{Id: id, Idle: r.cfg.Lease.Milliseconds()}
		if p := how[id]; held.Ticks(now) < p.Open {
			asks[i].N = p.N
		}
	}
	s, err := r.setIdle(ctx, asks)
	if err != nil {
		return err
	}
	r.held.PutBack(ids, how) // still due
	r.held.Move(slices.Concat(s.lost, s.deleted, s.redeliverable), held.Absent)
	r.held.Move(s.unowned, held.Doubted)
	return nil
}

// restoreDelayed restores all delayed entries after the pending list was lost. Doubtful ones are due
// now.
func (r *leases) restoreDelayed(ctx context.Context) (restored int, err error) {
	s, err := r.whileNotTaken(ctx, func() (claimResult, error) { return r.restoreWaiting(ctx) })
	return len(s.restored), err
}

func (r *leases) restoreWaiting(ctx context.Context) (claimResult, error) {
	now := time.Now()
	ids, how := r.held.WaitingWhere(func(held.Record) bool { return true })
	asks := make([]held.Ask, len(ids))
	due := make(map[string]held.Record, len(ids))
	for i, p := range how {
		if p.State == held.Doubtful {
			p.State, p.Due, p.Until = held.Delayed, held.Ticks(now), held.Ticks(now)
		}
		asks[i] = held.Ask{Id: ids[i], N: p.N}
		p.Open = r.askFor(&asks[i], now, p)
		due[ids[i]] = p
	}
	s, err := r.setIdleQuietly(ctx, asks)
	if err != nil {
		return s, err
	}
	r.held.Move(s.absent(), held.Absent)
	r.held.Move(s.restored, held.Absent)
	r.held.PutBack(s.restored, due)
	return s, nil
}

// disown gives up held entries when their IDs arrive as new entries.
//
// Idea: a failover discards the last writes of the old server, and the new one gives their IDs to
// other entries. So if a connection has broken, a new entry with the ID of a held one is another
// entry. It is returned, and the held one is lost. Otherwise the ack of the old entry would settle
// the new one, which was never handled. Without a broken connection an ID arrives again only if a
// user sets the group back, and then it is the same entry.
func (r *leases) disown(ctx context.Context, entries []redisio.Entry) error {
	again := r.held.Reissued(entries)
	if len(again) == 0 {
		return nil
	}
	// An ack of the old entry that is under way must not settle the new one.
	resume, err := r.held.Quiesce(ctx)
	if err != nil {
		return err
	}
	again = r.held.Move(again, held.TakenOver)
	resume()
	r.tellLost(again)
	return nil
}
