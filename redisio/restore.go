package redisio

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// Idea of this file: an entry of ours that is not pending for us may be pending for another, who
// has taken it over: it is lost to us. Or it is pending for nobody. Then either another took it
// over and is done with it, or somebody deleted the consumer, or the group, and another reader made
// that again. Others take over what has no live lease only. So while our lease had not lapsed, by
// our own clock, which began to run before the server's did, it can only be the latter, and we put
// the entry back into the pending list. Else the former is nearly always true. Where this is wrong,
// because somebody took entries by hand and finished them, it costs a duplicate and loses nothing.
//
// What was given back is open to all when it has fallen due, and its absence says nothing by
// itself. It stays in doubt until the next look at those whose leases live, and at our consumer: if
// one of them is missing, the list was lost, and all comes back.

// ask is what is asked for an entry: its idle time, with how many deliveries to restore it, 0 for not at all, and the
// number of the delivery that does not count, 0 if all do.
type ask struct {
	id            string
	idle, n, undo int64
	free          int64 // 1: move it to ReleasedConsumer; 2: to SuspectsConsumer
}

// standing are the ids that were not pending for us, by how they stand.
type standing struct {
	lost     []string // pending for another
	nobody   []string // pending for nobody, and not to be restored
	restored []string // were pending for nobody, and are for us again
	gone     []string // no longer in the stream
	ahead    []string // pending for nobody, and behind the position of the group: it will deliver them again
}

func (s *standing) add(o standing) {
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
func (r *GroupReader) setIdle(ctx context.Context, asks []ask) (standing, error) {
	s, err := r.setIdleQuietly(ctx, asks)
	r.tell(s)
	return s, err
}

// tell says what setIdle found. Whoever is told may settle entries, so nothing may wait for that to end.
func (r *GroupReader) tell(s standing) {
	if len(s.restored) > 0 {
		r.emit(Event{Kind: EventRestored, IDs: s.restored})
	}
	if len(s.gone) > 0 {
		r.emit(Event{Kind: EventTrimmed, Count: len(s.gone)})
	}
}

func (r *GroupReader) setIdleQuietly(ctx context.Context, asks []ask) (all standing, err error) {
	for n := 0; n < len(asks); n += pageSize {
		page := asks[n:min(n+pageSize, len(asks))]
		args := make([]any, 3, 3+5*len(page))
		args[0], args[1], args[2] = r.cfg.Group, r.cfg.Consumer, ReleasedConsumer
		for i := range page {
			args = append(args, &page[i].id, &page[i].idle, &page[i].n, &page[i].undo, &page[i].free)
		}
		reply, err := r.control.Eval(ctx, scriptPark, []string{r.cfg.Key}, args...).Slice()
		if err != nil {
			return all, fmt.Errorf("redisio: script for %d entries of %q: %w", len(asks), keyName(r.cfg.Key), err)
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
			if id, err := ParseID(ahead); err == nil {
				r.last.lower(id)
			}
		}
		all.add(s)
	}
	return all, nil
}

// look notices that our consumer was deleted, alone or with its group, while something is parked:
// it is there from the first read on, and each later read would make it again without a word. So
// this goes before every command that would.
func (r *GroupReader) look(ctx context.Context, c client) error {
	if r.blind.Load() || r.held.parkedCount() == 0 {
		return nil
	}
	n, err := c.XGroupCreateConsumer(ctx, r.cfg.Key, r.cfg.Group, r.cfg.Consumer).Result()
	gone := n > 0
	if isFull(err) { // whoever is missing can't be made then, but can be missed
		gone, err = r.missing(ctx, c)
	}
	if noRight(err) {
		r.blind.Store(true) // then without
		return nil
	}
	if gone {
		r.wiped.Store(true)
	}
	return err
}

// missing reports that our consumer is not there. The reply has all consumers.
func (r *GroupReader) missing(ctx context.Context, c client) (bool, error) {
	all, err := c.XInfoConsumers(ctx, r.cfg.Key, r.cfg.Group).Result()
	if noRight(err) {
		return false, nil // until the server has room
	}
	return err == nil &&
		!slices.ContainsFunc(all, func(is redis.XInfoConsumer) bool { return is.Name == r.cfg.Consumer }), err
}

// revive restores held entries that are pending for nobody, or gives them up.
func (r *GroupReader) revive(ctx context.Context, ids []string) error {
	if ids = r.held.unsettled(ids); len(ids) == 0 { // settled meanwhile, as it should be
		return nil
	}
	// An ack that runs beside would be undone by restoring its entry.
	resume, err := r.held.quiesce(ctx)
	if err != nil {
		return err
	}
	sent := time.Now()
	ids = r.held.unsettled(ids)
	s, err := r.setIdleQuietly(ctx, r.held.asks(ids, sent, r.cfg.Lease))
	if err == nil {
		r.held.renewed(s.restored, sent)
		r.held.gone(s.gone)
	}
	resume()
	r.tell(s)
	if err != nil {
		return err
	}
	r.lose(append(s.lost, s.nobody...))
	return nil
}

// reviveDue looks after entries that fell due and were not pending for us.
func (r *GroupReader) reviveDue(ctx context.Context, ids []string, how map[string]parked) error {
	now := time.Now()
	asks := make([]ask, len(ids))
	for i, id := range ids {
		asks[i] = ask{id: id, idle: r.cfg.Lease.Milliseconds()}
		if p := how[id]; ticks(now) < p.open {
			asks[i].n = p.n
		}
	}
	s, err := r.setIdle(ctx, asks)
	if err != nil {
		return err
	}
	r.held.putBack(ids, how) // still due
	r.held.unpark(slices.Concat(s.lost, s.gone, s.ahead))
	r.held.doubt(s.nobody)
	return nil
}

// reviveTaken restores entries that were pending for us a moment ago, when they were asked for, and
// are not now. The next search for what is ours finds them.
func (r *GroupReader) reviveTaken(ctx context.Context, ids []string) error {
	if ids = r.held.unknown(ids); len(ids) == 0 {
		return nil
	}
	asks := make([]ask, len(ids))
	for i := range asks {
		asks[i] = ask{id: ids[i], n: 1}
	}
	s, err := r.setIdle(ctx, asks)
	if len(s.restored) > 0 || err != nil {
		r.distrust()
	}
	return err
}

// restoreParked restores all that was given back, after it has turned out that the pending list was
// lost. Those in doubt fall due now.
func (r *GroupReader) restoreParked(ctx context.Context) (restored int, err error) {
	now := time.Now()
	ids, how := r.held.parkedWhere(func(parked) bool { return true })
	asks := make([]ask, len(ids))
	due := make(map[string]parked, len(ids))
	for i, p := range how {
		if p.doubt {
			p.due, p.until, p.doubt = ticks(now), ticks(now), false
		}
		asks[i] = ask{id: ids[i], n: p.n}
		p.open = r.askFor(&asks[i], now, p)
		due[ids[i]] = p
	}
	s, err := r.setIdle(ctx, asks)
	if err != nil {
		return 0, err
	}
	r.held.unpark(s.absent())
	r.held.unpark(s.restored)
	r.held.putBack(s.restored, due)
	return len(s.restored), nil
}
