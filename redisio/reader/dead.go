package reader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// DeadLetter is an entry for the dead-letter stream. Extra fields follow the entry's own.
type DeadLetter struct {
	ID    string
	Extra redisio.Fields
}

// Dead moves entries to a dead-letter stream. One atomic step each copies all raw fields and the
// extra ones, and acks the entry. An entry that is no longer ours is skipped. A repeated call makes
// no second copy: it finds the first by the extra field dead:id, and dead:group if set, see
// [github.com/streamerson/streamerson-go/redisio/dead.Reason.Fields]. If the entry was trimmed, the
// copy has only the extra fields.
//
// On a server with slots, if deadKey is in another slot than the stream, the move takes two steps.
// A key next to deadKey, such as {orders:dead}:copied, remembers the copy, so it is made once. It
// keeps the last 100,000 copies for a day.
func (r *Group) Dead(ctx context.Context, deadKey string, letters []DeadLetter) error {
	if len(letters) == 0 {
		return nil
	}
	if deadKey == "" || deadKey == r.cfg.Key {
		return &redisio.ConfigError{
			Type:    "Dead",
			Field:   "deadKey",
			Problem: fmt.Sprintf("is %q", deadKey),
			Fix:     "name a stream for dead letters other than the one read",
		}
	}
	if err := r.usable(); err != nil {
		return err
	}
	var errs []error
	for n := 0; n < len(letters); n += 100 {
		chunk := letters[n:min(n+100, len(letters))]
		err := r.deadChunk(ctx, deadKey, chunk)
		if r.healed(ctx, err) {
			err = r.deadChunk(ctx, deadKey, chunk)
		}
		if err = r.answered(err); err != nil {
			errs = append(errs, r.failing(err))
		}
	}
	return errors.Join(errs...)
}

// answered looks at how a settlement ended. A refusal that may pass is not permanent for a while.
func (r *Group) answered(err error) error {
	if err == nil {
		r.settles.Worked()
		return nil
	}
	err, first := r.settles.Refusal(err)
	if first {
		r.emit(redisio.Refused(r.cfg.Key, err))
	}
	return err
}

func (r *Group) deadChunk(ctx context.Context, deadKey string, letters []DeadLetter) error {
	pipe := r.control.Pipeline()
	cmds := make([]*redis.Cmd, len(letters))
	ids := make([]string, len(letters))
	for i := range letters {
		ids[i] = letters[i].ID
	}
	finish, err := r.held.Settle(ctx, ids)
	if err != nil {
		return fmt.Errorf("redisio: dead-letter %s of %q: %w", fault.Plural(len(letters), "entry", "entries"),
			fault.KeyName(r.cfg.Key), err)
	}
	defer finish()
	asks := r.held.Asks(ids, time.Now(), r.cfg.Lease)
	for i, l := range letters {
		if r.apart.Load() {
			break
		}
		args := make([]any, 0, 5+2*len(l.Extra))
		args = append(args, r.cfg.Group, r.cfg.Consumer, l.ID, max(0, r.cfg.DeadMaxLen), min(asks[i].N, 1))
		for _, f := range l.Extra {
			args = append(args, f.Name, f.Value)
		}
		cmds[i] = pipe.Eval(ctx, script.ScriptDead, []string{r.cfg.Key, deadKey}, args...)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	var done []string
	var first error
	failed, stale, late, dropped := 0, 0, 0, 0
	for i, cmd := range cmds {
		n, err := 0, error(nil)
		if cmd != nil {
			n, err = cmd.Int()
		}
		if n == -1 {
			err = r.deadLarge(ctx, deadKey, letters[i])
		}
		if fault.CrossSlot(err) {
			r.apart.Store(true)
		}
		if cmd == nil || fault.CrossSlot(err) {
			n, err = r.deadApart(ctx, deadKey, letters[i], asks[i].N > 0)
		}
		if err != nil {
			failed++
			if first == nil {
				first = err
			}
			continue
		}
		done = append(done, letters[i].ID)
		switch n {
		case 0:
			stale++
		case -2:
			late++
		default:
			dropped += max(0, n-1)
		}
	}
	r.held.Remove(done)
	r.held.Settled(done)
	if dropped > 0 {
		r.emit(redisio.Event{Kind: redisio.EventDeadDropped, Count: dropped})
	}
	if late > 0 {
		r.emit(redisio.Event{Kind: redisio.EventLateAcks, Count: late})
	}
	if stale > 0 {
		r.emit(redisio.Event{Kind: redisio.EventStaleAcks, Count: stale})
	}
	if r.cfg.DeleteSettled && len(done) > 0 {
		_, _, _ = r.settleAndDelete(ctx, done, true) // what stays for now goes with the next ack
	}
	if first != nil {
		return fmt.Errorf("redisio: dead-letter %d of %s of %q to %q: %w",
			failed, fault.Plural(len(letters), "entry", "entries"),
			fault.KeyName(r.cfg.Key), fault.KeyName(deadKey), first)
	}
	return nil
}

// deadLarge moves an entry of more fields than a script can hand over, once the script has found it pending for us. The
// client must not repeat this by itself; a caller who does gets the script again, which finds the copy.
func (r *Group) deadLarge(ctx context.Context, deadKey string, l DeadLetter) error {
	raw := redis.NewRawCmd(ctx, "xrange", r.cfg.Key, l.ID, l.ID)
	if err := r.control.Process(ctx, raw); err != nil {
		return err
	}
	var b redisio.Batch
	if err := resp.ParseEntries(raw.Val(), 0, &b); err != nil {
		return err
	}
	args := []any{"xadd", deadKey}
	if r.cfg.DeadMaxLen > 0 {
		args = append(args, "maxlen", "~", r.cfg.DeadMaxLen)
	}
	args = append(args, "*")
	for _, e := range b.Entries {
		for _, f := range e.Fields {
			args = append(args, f.Name, f.Value)
		}
	}
	for _, f := range l.Extra {
		args = append(args, f.Name, f.Value)
	}
	tx := r.reading.TxPipeline()
	tx.Do(ctx, args...)
	tx.XAck(ctx, r.cfg.Key, r.cfg.Group, l.ID)
	return fault.Discarded(tx.Exec(ctx))
}
