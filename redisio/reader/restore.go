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
func (r *Group) setIdle(ctx context.Context, asks []held.Ask) (standing, error) {
	s, err := r.setIdleQuietly(ctx, asks)
	r.tell(s)
	return s, err
}

// tell says what setIdle found. Whoever is told may settle entries, so nothing may wait for that to end.
func (r *Group) tell(s standing) {
	if len(s.restored) > 0 {
		r.emit(redisio.Event{Kind: redisio.EventRestored, IDs: s.restored})
	}
	if len(s.gone) > 0 {
		r.emit(redisio.Event{Kind: redisio.EventTrimmed, Count: len(s.gone)})
	}
}

func (r *Group) setIdleQuietly(ctx context.Context, asks []held.Ask) (all standing, err error) {
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

// Look notices that our consumer was deleted, alone or with its group, while something is parked:
// it is there from the first read on, and each later read would make it again without a word. So
// this goes before every command that would.
func (r *Group) Look(ctx context.Context, c conn.Client) error {
	if r.blind.Load() || r.held.ParkedCount() == 0 {
		return nil
	}
	n, err := c.XGroupCreateConsumer(ctx, r.cfg.Key, r.cfg.Group, r.cfg.Consumer).Result()
	gone := n > 0
	if fault.IsFull(err) { // whoever is missing can't be made then, but can be missed
		gone, err = r.missing(ctx, c)
	}
	if fault.NoRight(err) {
		r.blind.Store(true) // then without
		return nil
	}
	if gone {
		r.wiped.Store(true)
	}
	return err
}

// missing reports that our consumer is not there. The reply has all consumers.
func (r *Group) missing(ctx context.Context, c conn.Client) (bool, error) {
	all, err := c.XInfoConsumers(ctx, r.cfg.Key, r.cfg.Group).Result()
	if fault.NoRight(err) {
		return false, nil // until the server has room
	}
	return err == nil &&
		!slices.ContainsFunc(all, func(is redis.XInfoConsumer) bool { return is.Name == r.cfg.Consumer }), err
}

// revive restores held entries that are pending for nobody, or gives them up.
func (r *Group) revive(ctx context.Context, ids []string) error {
	if ids = r.held.Unsettled(ids); len(ids) == 0 { // settled meanwhile, as it should be
		return nil
	}
	// An ack that runs beside would be undone by restoring its entry.
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
	r.Lose(append(s.lost, s.nobody...))
	return nil
}

// reviveDue looks after entries that fell due and were not pending for us.
func (r *Group) reviveDue(ctx context.Context, ids []string, how map[string]held.Parked) error {
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

// reviveTaken restores entries that were pending for us a moment ago, when they were asked for, and
// are not now. The next search for what is ours finds them.
func (r *Group) reviveTaken(ctx context.Context, ids []string) error {
	if ids = r.held.Unknown(ids); len(ids) == 0 {
		return nil
	}
	asks := make([]held.Ask, len(ids))
	for i := range asks {
		asks[i] = held.Ask{Id: ids[i], N: 1}
	}
	s, err := r.setIdle(ctx, asks)
	if len(s.restored) > 0 || err != nil {
		r.distrust()
	}
	return err
}

// restoreParked restores all that was given back, after it has turned out that the pending list was
// lost. Those in doubt fall due now.
func (r *Group) restoreParked(ctx context.Context) (restored int, err error) {
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
