package reader

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/held"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// ackArgs are the argument slices of XACKs. Pointers to ids go in, so nothing is boxed.
var ackArgs = sync.Pool{New: func() any { s := make([]any, 0, script.AckChunk+3); return &s }}

// Ack settles entries as done. It returns how many were still pending. After an error some may be
// acked, and a retry is safe. Entries that are no longer pending are counted as stale, see
// EventStaleAcks. They were acked before, or reclaimed and finished by another consumer.
//
// Entries that belong to another consumer by now are not acked, see EventLateAcks. These are the
// entries that OnLost named and, after the lease has lapsed, those that the server reports for
// another consumer. Pass a context with its own deadline, not that of the work.
func (r *Group) Ack(ctx context.Context, ids []string) (acked int, err error) {
	if len(ids) == 0 || r.cfg.NoAck {
		return len(ids), nil
	}
	if err := r.usable(); err != nil {
		return 0, err
	}
	done, err := r.held.Settle(ctx, ids)
	if err != nil {
		return 0, fmt.Errorf("redisio: ack %s of %q: %w", fault.Plural(len(ids), "entry", "entries"),
			fault.KeyName(r.cfg.Key), err)
	}
	defer done()
	plain, fenced, late := r.held.Split(ids, time.Now(), r.cfg.Lease)
	switch {
	case len(plain) == 0:
	case r.cfg.DeleteSettled:
		acked, _, err = r.settleAndDelete(ctx, plain, false)
	case len(plain) <= script.AckChunk:
		acked, err = r.ackOne(ctx, plain)
	default:
		acked, err = r.ackMany(ctx, plain)
	}
	if err == nil && len(fenced) > 0 {
		var n, other int
		n, other, err = r.ackFenced(ctx, fenced)
		acked, late = acked+n, late+other
	}
	if err = r.answered(err); err != nil {
		return acked, fmt.Errorf("redisio: ack %s of %q: %w", fault.Plural(len(ids), "entry", "entries"),
			fault.KeyName(r.cfg.Key), err)
	}
	if late > 0 {
		r.held.Settled(ids)
		r.emit(redisio.Event{Kind: redisio.EventLateAcks, Count: late})
	}
	if stale := len(ids) - acked - late; stale > 0 {
		r.emit(redisio.Event{Kind: redisio.EventStaleAcks, Count: stale})
	}
	return acked, nil
}

// ackFenced acks the entries that are still pending for us, and no others.
func (r *Group) ackFenced(ctx context.Context, ids []string) (acked, late int, err error) {
	if r.cfg.DeleteSettled {
		return r.settleAndDelete(ctx, ids, true)
	}
	for n := 0; n < len(ids); n += script.PageSize {
		page := ids[n:min(n+script.PageSize, len(ids))]
		args := make([]any, 2, 2+len(page))
		args[0], args[1] = r.cfg.Group, r.cfg.Consumer
		for i := range page {
			args = append(args, &page[i])
		}
		both, err := r.control.Eval(ctx, script.ScriptAck, []string{r.cfg.Key}, args...).Int64Slice()
		if err != nil {
			if fault.Judge(err) == fault.LostGroup {
				both = []int64{0, 0} // as XACK says of a group that is gone
			} else {
				return acked, late, err
			}
		}
		r.held.Remove(page)
		if len(both) == 2 {
			acked, late = acked+int(both[0]), late+int(both[1])
		}
	}
	return acked, late, nil
}

func (r *Group) ackCmd(ctx context.Context, ids []string) (*redis.IntCmd, *[]any) {
	p := ackArgs.Get().(*[]any)
	args := append((*p)[:0], "xack", r.cfg.Key, r.cfg.Group)
	for i := range ids {
		args = append(args, &ids[i])
	}
	*p = args
	return redis.NewIntCmd(ctx, args...), p
}

func freeAckArgs(p *[]any) {
	clear(*p)
	ackArgs.Put(p)
}

func (r *Group) ackOne(ctx context.Context, ids []string) (int, error) {
	cmd, p := r.ackCmd(ctx, ids)
	defer freeAckArgs(p)
	if err := r.control.Process(ctx, cmd); err != nil {
		return 0, err
	}
	r.held.Remove(ids)
	return int(cmd.Val()), nil
}

func (r *Group) ackMany(ctx context.Context, ids []string) (acked int, err error) {
	pipe := r.control.Pipeline()
	var cmds []*redis.IntCmd
	for n := 0; n < len(ids); n += script.AckChunk {
		cmd, p := r.ackCmd(ctx, ids[n:min(n+script.AckChunk, len(ids))])
		defer freeAckArgs(p)
		cmds = append(cmds, cmd)
		_ = pipe.Process(ctx, cmd) // only queues
	}
	_, execErr := pipe.Exec(ctx)
	var errs []error
	for i, cmd := range cmds {
		if err := cmd.Err(); err != nil {
			errs = append(errs, err)
			continue
		}
		r.held.Remove(ids[i*script.AckChunk : min((i+1)*script.AckChunk, len(ids))]) // only what was confirmed
		acked += int(cmd.Val())
	}
	if len(errs) == 0 && execErr != nil {
		errs = append(errs, execErr)
	}
	if len(errs) > 0 {
		err = errs[0] // the others say the same
	}
	return acked, err
}

// Nack releases entries for another delivery after a delay. It does not copy them and does not
// count a delivery itself. After its first delivery an entry returns to this reader. After each
// further one, other readers of the group have the first chance. This reader takes the entry if no
// other has taken it within three seconds, or 3/16 of the lease if that is shorter. Entries that
// are no longer ours are skipped.
//
// Delays longer than the lease apply while this reader lives. If it dies, the entry is delivered at
// most one lease later. The longest delay is 100 years. Nacked entries are not held and need no
// credit.
func (r *Group) Nack(ctx context.Context, ids []string, after time.Duration) error {
	delays := make([]time.Duration, len(ids))
	for i := range delays {
		delays[i] = after
	}
	_, err := r.NackEach(ctx, ids, delays)
	return err
}

// NackEach does the same as Nack with a delay for each entry. On an error it returns how many, from
// the first on, were certainly released. Do not release these again, because they may have been
// delivered since.
func (r *Group) NackEach(ctx context.Context, ids []string, after []time.Duration) (nacked int, err error) {
	if len(ids) != len(after) {
		return 0, fmt.Errorf(
			"redisio: nack %d entries of %q with %d delays: make them as many",
			len(ids),
			fault.KeyName(r.cfg.Key),
			len(after),
		)
	}
	if len(ids) == 0 || r.cfg.NoAck {
		return len(ids), nil
	}
	if err := r.usable(); err != nil {
		return 0, err
	}
	crowded := r.held.ParkedCount()+len(ids) > held.MaxParked
	how := make([]held.Parked, min(len(ids), script.PageSize))
	for n := 0; n < len(ids); n += script.PageSize {
		page := ids[n:min(n+script.PageSize, len(ids))]
		now := time.Now()
		for i := range page {
			d := min(max(after[n+i], 0), fault.MaxDelay)
			if crowded {
				d = min(d, r.cfg.Lease)
			}
			how[i] = held.Parked{Due: held.Ticks(now.Add(d)), Until: held.Ticks(now.Add(d + r.grace(d)))}
		}
		r.offer(ctx, page, how)
		if err := r.giveBack(ctx, now, page, how[:len(page)]); err != nil {
			return n, fmt.Errorf("redisio: nack %s of %q: %w", fault.Plural(len(ids)-n, "entry", "entries"),
				fault.KeyName(r.cfg.Key), err)
		}
	}
	return len(ids), nil
}

// offer gives other readers, if there are any, the first chance at entries that failed here for the
// second time or more often.
func (r *Group) offer(ctx context.Context, ids []string, how []held.Parked) {
	failed := r.held.Again(ids)
	if len(failed) == 0 || !r.others(ctx) {
		return
	}
	for _, i := range failed {
		due := how[i].Due
		how[i] = held.Parked{Due: due + r.patience().Milliseconds(), Until: due, Released: true, Offered: true}
	}
}

// grace is how long a nacked entry is ours alone after it has fallen due. If it is missing then, it
// was not another who took it.
func (r *Group) grace(delay time.Duration) time.Duration {
	return min(delay/2, r.cfg.Lease/10, time.Second)
}

// Release releases entries so that any other reader of the group can take them at once. This reader
// takes them again only if no other has taken them for a lease. Entries that are no longer ours are
// skipped.
func (r *Group) Release(ctx context.Context, ids []string) error {
	if len(ids) == 0 || r.cfg.NoAck {
		return nil
	}
	if err := r.usable(); err != nil {
		return err
	}
	return r.release(ctx, ids, nil)
}

// release gives ids back for others. undo has the number of the delivery that does not count, for those it has.
func (r *Group) release(ctx context.Context, ids []string, undo map[string]int64) error {
	how := make([]held.Parked, min(len(ids), script.PageSize))
	for n := 0; n < len(ids); n += script.PageSize {
		page := ids[n:min(n+script.PageSize, len(ids))]
		now := time.Now()
		for i := range page {
			how[i] = held.Parked{
				Due:      held.Ticks(now.Add(r.cfg.Lease)),
				Until:    held.Ticks(now),
				Undo:     undo[page[i]],
				Released: true,
			}
		}
		if err := r.giveBack(ctx, now, page, how[:len(page)]); err != nil {
			return fmt.Errorf("redisio: release %s of %q: %w", fault.Plural(len(ids)-n, "entry", "entries"),
				fault.KeyName(r.cfg.Key), err)
		}
	}
	return nil
}

// Undeliver releases entries that were not worked on, as if they had not been delivered. Any reader
// of the group can take them at once, this one included, and their last delivery does not count.
// Entries that are no longer ours are skipped. After an error some may be released. A retry with
// all of them is safe: each delivery is undone once.
func (r *Group) Undeliver(ctx context.Context, ids []string) error {
	if len(ids) == 0 || r.cfg.NoAck {
		return nil
	}
	if err := r.usable(); err != nil {
		return err
	}
	how := make([]held.Parked, min(len(ids), script.PageSize))
	for page := range slices.Chunk(ids, script.PageSize) {
		now := time.Now()
		for i := range page {
			how[i] = held.Parked{Due: held.Ticks(now), Until: held.Ticks(now), Released: true}
		}
		r.held.Undo(page, how)
		if err := r.giveBack(ctx, now, page, how[:len(page)]); err != nil {
			return fmt.Errorf("redisio: undeliver %s of %q: %w", fault.Plural(len(ids), "entry", "entries"),
				fault.KeyName(r.cfg.Key), err)
		}
	}
	return nil
}

// giveBack parks entries that are ours still, here and on the server, in a group that may be gone.
func (r *Group) giveBack(ctx context.Context, now time.Time, ids []string, how []held.Parked) error {
	asks := r.held.Asks(ids, now, r.cfg.Lease)
	open := make([]int64, len(ids))
	for i := range asks {
		how[i].Open = r.askFor(&asks[i], now, how[i])
		asks[i].Undo = how[i].Undo
		open[i] = how[i].Open
	}
	r.held.Lapse(ids, open, r.cfg.Lease)
	err := r.parkThere(ctx, ids, asks, how)
	if r.healed(ctx, err) {
		err = r.parkThere(ctx, ids, asks, how)
	}
	if err = r.answered(err); err != nil {
		return r.failing(err)
	}
	return nil
}

// parkThere parks entries on the server, and then here. Until then they count as being settled: a
// renewal that finds them in the pool must not take them for lost.
func (r *Group) parkThere(ctx context.Context, ids []string, asks []held.Ask, how []held.Parked) error {
	done, err := r.held.Settle(ctx, ids)
	if err != nil {
		return err
	}
	s, err := r.setIdleQuietly(ctx, r.held.InTime(asks))
	if err == nil {
		r.held.Park(ids, how)
		r.held.Unpark(r.held.Settled(ids))
		r.held.Unpark(s.absent())
	}
	done()
	r.tell(s)
	return err
}
