package reader

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/held"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// Nack releases entries for another delivery after a delay. It does not copy them and does not
// count a delivery itself. After its first delivery an entry returns to this reader. After each
// further one, other readers of the group have the first chance. This reader takes the entry if no
// other has taken it within three seconds, or 3/16 of the lease if that is shorter. Entries that
// belong to another consumer are skipped.
//
// Delays longer than the lease apply while this reader lives. If it dies, the entry is delivered at
// most one lease later. The longest delay is 100 years. Nacked entries are not held and need no
// credit.
func (r *settler) Nack(ctx context.Context, ids []string, after time.Duration) error {
	delays := make([]time.Duration, len(ids))
	for i := range delays {
		delays[i] = after
	}
	_, err := r.NackEach(ctx, ids, delays)
	return err
}

// NackEach is like Nack, with a delay for each entry. On an error it returns how many, from the
// first on, were certainly released. Do not release these again, because they may have been
// delivered since.
func (r *settler) NackEach(ctx context.Context, ids []string, after []time.Duration) (nacked int, err error) {
	if len(ids) != len(after) {
		return 0, fmt.Errorf(
			"redisio: nack %d entries of %q with %d delays: make them as many",
			len(ids),
			fault.KeyName(r.cfg.Key),
			len(after),
		)
	}
	if len(ids) == 0 || r.cfg.AtMostOnce {
		return len(ids), nil
	}
	if err := r.loop.usable(); err != nil {
		return 0, err
	}
	crowded := r.held.Waiting()+len(ids) > held.MaxDelayed
	return r.giveBackAll(ctx, "nack", ids, func(n int, now time.Time, page []string, how []held.Record) {
		for i := range page {
			d := min(max(after[n+i], 0), fault.MaxDelay)
			if crowded {
				d = min(d, r.cfg.Lease)
			}
			how[i] = held.Record{Due: held.Ticks(now.Add(d)), Until: held.Ticks(now.Add(d + r.grace(d)))}
		}
		r.offer(ctx, page, how)
	})
}

// offer gives other readers the first chance at entries that failed here for the second time or more
// often.
func (r *settler) offer(ctx context.Context, ids []string, how []held.Record) {
	failed := r.held.Again(ids)
	if len(failed) == 0 || !r.others(ctx) {
		return
	}
	for _, i := range failed {
		due := how[i].Due
		how[i] = held.Record{Due: due + r.patience().Milliseconds(), Until: due, Released: true, Offered: true}
	}
}

// grace is how long no other reader may take a nacked entry after it is due. If the entry is missing
// during that time, no other reader has taken it.
func (r *settler) grace(delay time.Duration) time.Duration {
	return min(delay/2, r.cfg.Lease/10, time.Second)
}

// Release releases entries so that any other reader of the group can take them at once. This reader
// takes them again only if no other has taken them for a lease. Entries that belong to another
// consumer are skipped.
func (r *settler) Release(ctx context.Context, ids []string) error {
	if len(ids) == 0 || r.cfg.AtMostOnce {
		return nil
	}
	if err := r.loop.usable(); err != nil {
		return err
	}
	return r.release(ctx, ids, nil)
}

// release releases entries for other readers. undo has the numbers of deliveries that do not count.
func (r *settler) release(ctx context.Context, ids []string, undo map[string]int64) error {
	_, err := r.giveBackAll(ctx, "release", ids, func(_ int, now time.Time, page []string, how []held.Record) {
		for i := range page {
			how[i] = held.Record{Due: held.Ticks(now.Add(r.cfg.Lease)), Until: held.Ticks(now), Undo: undo[page[i]],
				Released: true}
		}
	})
	return err
}

// Undeliver releases entries that were not worked on, as if they had not been delivered. Any reader
// of the group can take them at once, this one included, and their last delivery does not count.
// Entries that belong to another consumer are skipped. After an error some may be released. A retry
// with all of them is safe: each delivery is undone once.
func (r *settler) Undeliver(ctx context.Context, ids []string) error {
	if len(ids) == 0 || r.cfg.AtMostOnce {
		return nil
	}
	if err := r.loop.usable(); err != nil {
		return err
	}
	return r.undeliver(ctx, ids)
}

func (r *settler) undeliver(ctx context.Context, ids []string) error {
	_, err := r.giveBackAll(ctx, "undeliver", ids, func(_ int, now time.Time, page []string, how []held.Record) {
		for i := range page {
			how[i] = held.Record{Due: held.Ticks(now), Until: held.Ticks(now), Released: true}
		}
		r.held.Undo(page, how)
	})
	return err
}

// giveBackAll gives back entries page by page. fill sets the records of a page that begins at n. On
// an error it returns how many were certainly given back.
func (r *settler) giveBackAll(ctx context.Context, verb string, ids []string,
	fill func(n int, now time.Time, page []string, how []held.Record)) (done int, err error) {
	how := make([]held.Record, min(len(ids), script.PageSize))
	for n := 0; n < len(ids); n += script.PageSize {
		page := ids[n:min(n+script.PageSize, len(ids))]
		now := time.Now()
		fill(n, now, page, how)
		if err := r.giveBack(ctx, now, page, how[:len(page)]); err != nil {
			return n, r.failed(verb, len(ids)-n, err)
		}
	}
	return len(ids), nil
}

// giveBack delays entries that are pending for this consumer, on the server and here. It recreates a
// lost group.
func (r *settler) giveBack(ctx context.Context, now time.Time, ids []string, how []held.Record) error {
	asks := r.held.Asks(ids, now, r.cfg.Lease)
	open := make([]int64, len(ids))
	for i := range asks {
		how[i].Open = r.askFor(&asks[i], now, how[i])
		asks[i].Undo = how[i].Undo
		open[i] = how[i].Open
	}
	r.held.Lapse(ids, open, r.cfg.Lease)
	err := r.delayThere(ctx, ids, asks, how)
	if r.healed(ctx, err) {
		err = r.delayThere(ctx, ids, asks, how)
	}
	if err = r.answered(err); err != nil {
		return r.healer.failing(err)
	}
	return nil
}

// delayThere delays entries on the server, and then here. Until then they count as being settled, so
// that a renewal that finds them in the pool does not take them for lost.
func (r *settler) delayThere(ctx context.Context, ids []string, asks []held.Ask, how []held.Record) error {
	done, err := r.held.Settle(ctx, ids)
	if err != nil {
		return err
	}
	s, err := r.setIdleSurely(ctx, r.held.InTime(asks))
	if err == nil {
		r.held.Delay(ids, how)
		r.held.Move(r.held.Move(ids, held.Finished), held.Absent)
		r.held.Move(s.absent(), held.Absent)
	}
	done()
	r.report(s)
	return err
}

// patience is how long other readers have the first chance at an entry that failed here again.
func (r *settler) patience() time.Duration { return 3 * r.lookEvery() }

// company is what a reader knows about the other readers of its group.
type company struct {
	mu     sync.Mutex
	asked  time.Time // when the server was asked
	others bool      // its answer
	lonely time.Time // no other reader took an entry that was offered: do not offer before
}

// others reports whether another reader may take what fails here. It returns false if the server
// does not answer.
func (r *settler) others(ctx context.Context) bool {
	c := &r.company
	c.mu.Lock()
	now := time.Now()
	known, others := now.Sub(c.asked) < time.Second, c.others
	if now.Before(c.lonely) {
		known, others = true, false
	}
	c.mu.Unlock()
	if known {
		return others
	}
	all, err := r.control.XInfoConsumers(ctx, r.cfg.Key, r.cfg.Group).Result()
	others = err == nil && slices.ContainsFunc(all, r.isOther)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked, c.others = now, others
	return others
}

// leftAlone notes that no other reader took an offered entry.
func (r *settler) leftAlone() {
	r.company.mu.Lock()
	defer r.company.mu.Unlock()
	r.company.lonely = time.Now().Add(r.cfg.Lease / 3)
}
