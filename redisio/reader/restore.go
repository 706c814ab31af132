package reader

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/held"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// standing are the ids that were not pending for us, by how they stand.
type standing struct {
	lost     []string // pending for another
	nobody   []string // pending for nobody, and not to be restored
	restored []string // were pending for nobody, and are for us again
	gone     []string // no longer in the stream
	ahead    []string // pending for nobody, and behind the position of the group: it will deliver them again
}

func (s *standing) Add(o standing) {
	s.lost, s.nobody, s.restored = append(
		s.lost,
		o.lost...), append(
		s.nobody,
		o.nobody...), append(
		s.restored,
		o.restored...)
	s.gone, s.ahead = append(s.gone, o.gone...), append(s.ahead, o.ahead...)
}

// absent are all that are not pending for us now.
func (s *standing) absent() []string {
	return slices.Concat(s.lost, s.nobody, s.gone, s.ahead)
}

// setIdle sets the idle times of entries that are pending for us, in pages, and restores what it is asked to.
func (r *leases) setIdle(ctx context.Context, asks []held.Ask) (standing, error) {
	s, err := r.setIdleQuietly(ctx, asks)
	r.tell(s)
	return s, err
}

// tell says what setIdle found. Whoever is told may settle entries, so nothing may wait for that to end.
func (r *leases) tell(s standing) {
	if len(s.restored) > 0 {
		r.emit(redisio.Event{Kind: redisio.EventRestored, IDs: s.restored})
	}
	if len(s.gone) > 0 {
		r.emit(redisio.Event{Kind: redisio.EventTrimmed, Count: len(s.gone)})
	}
}

func (r *leases) setIdleQuietly(ctx context.Context, asks []held.Ask) (all standing, err error) {
	for n := 0; n < len(asks); n += script.PageSize {
		page := asks[n:min(n+script.PageSize, len(asks))]
		args := make([]any, 3, 3+5*len(page))
		args[0], args[1], args[2] = r.cfg.Group, r.cfg.Consumer, redisio.ReleasedConsumer
		for i := range page {
			args = append(args, &page[i].Id, &page[i].Idle, &page[i].N, &page[i].Undo, &page[i].Free)
		}
		reply, err := r.control.Eval(ctx, script.ScriptPark, []string{r.cfg.Key}, args...).Slice()
		if err != nil {
			return all, fmt.Errorf("redisio: script for %s of %q: %w", fault.Plural(len(asks), "entry", "entries"),
				fault.KeyName(r.cfg.Key), err)
		}
		var s standing
		for i, list := range []*[]string{&s.lost, &s.nobody, &s.restored, &s.gone, &s.ahead} {
			if i < len(reply) {
				ids, _ := reply[i].([]any)
				for _, id := range ids {
					if id, ok := id.(string); ok {
						*list = append(*list, id)
					}
				}
			}
		}
		if len(s.restored) > 0 {
			r.wiped.Store(true)
		}
		for _, ahead := range s.ahead {
			if id, err := redisio.ParseID(ahead); err == nil {
				r.last.lower(id)
			}
		}
		all.Add(s)
	}
	return all, nil
}

// look detects that the consumer was deleted, alone or with its group, while entries are delayed.
// Each read would recreate the consumer silently, so look precedes every such command.
func (r *leases) look(ctx context.Context, c conn.Client) error {
	if r.blind.Load() || r.held.ParkedCount() == 0 {
		return nil
	}
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
	s, err := r.setIdleQuietly(ctx, r.held.Asks(ids, sent, r.cfg.Lease))
	if err == nil {
		r.held.Renewed(s.restored, sent)
		r.held.Gone(s.gone)
	}
	resume()
	r.tell(s)
	if err != nil {
		return err
	}
	r.lose(append(s.lost, s.nobody...))
	return nil
}

// reviveDue restores entries that are due and were not pending for this consumer, or gives them up.
func (r *leases) reviveDue(ctx context.Context, ids []string, how map[string]held.Parked) error {
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
	r.held.Unpark(slices.Concat(s.lost, s.gone, s.ahead))
	r.held.Doubt(s.nobody)
	return nil
}

// restoreParked restores all delayed entries after the pending list was lost. Doubtful ones are due
// now.
func (r *leases) restoreParked(ctx context.Context) (restored int, err error) {
	now := time.Now()
	ids, how := r.held.ParkedWhere(func(held.Parked) bool { return true })
	asks := make([]held.Ask, len(ids))
	due := make(map[string]held.Parked, len(ids))
	for i, p := range how {
		if p.Doubt {
			p.Due, p.Until, p.Doubt = held.Ticks(now), held.Ticks(now), false
		}
		asks[i] = held.Ask{Id: ids[i], N: p.N}
		p.Open = r.askFor(&asks[i], now, p)
		due[ids[i]] = p
	}
	s, err := r.setIdle(ctx, asks)
	if err != nil {
		return 0, err
	}
	r.held.Unpark(s.absent())
	r.held.Unpark(s.restored)
	r.held.PutBack(s.restored, due)
	return len(s.restored), nil
}

// disown gives up held entries whose IDs arrive as new entries.
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
	again = r.held.Lose(again)
	resume()
	r.tellLost(again)
	return nil
}
