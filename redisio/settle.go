package redisio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ackChunk is how many ids one XACK has: more would hold up the server's other clients.
const ackChunk = 1000

// ackArgs are the argument slices of XACKs. Pointers to ids go in, so nothing is boxed.
var ackArgs = sync.Pool{New: func() any { s := make([]any, 0, ackChunk+3); return &s }}

// Ack settles entries as done. It returns how many were still pending. On an error some may be acked:
// asking again is harmless. Entries that were not pending any more are counted as stale (see
// EventStaleAcks): acked before, or reclaimed and finished by somebody else.
//
// Acking does not ask who owns the entry: the work is done. Give it a context of its own with a
// deadline, not that of the work.
func (r *GroupReader) Ack(ctx context.Context, ids []string) (acked int, err error) {
	if len(ids) == 0 || r.cfg.NoAck {
		return len(ids), nil
	}
	if err := r.usable(); err != nil {
		return 0, err
	}
	defer r.held.settle(ids)()
	if len(ids) <= ackChunk {
		acked, err = r.ackOne(ctx, ids)
	} else {
		acked, err = r.ackMany(ctx, ids)
	}
	if err != nil {
		return acked, fmt.Errorf("redisio: ack %d entries of %q: %w", len(ids), keyName(r.cfg.Key), err)
	}
	if stale := len(ids) - acked; stale > 0 {
		r.emit(Event{Kind: EventStaleAcks, Count: stale})
	}
	return acked, nil
}

func (r *GroupReader) ackCmd(ctx context.Context, ids []string) (*redis.IntCmd, *[]any) {
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

func (r *GroupReader) ackOne(ctx context.Context, ids []string) (int, error) {
	cmd, p := r.ackCmd(ctx, ids)
	defer freeAckArgs(p)
	if err := r.control.Process(ctx, cmd); err != nil {
		return 0, err
	}
	r.held.remove(ids)
	return int(cmd.Val()), nil
}

func (r *GroupReader) ackMany(ctx context.Context, ids []string) (acked int, err error) {
	pipe := r.control.Pipeline()
	var cmds []*redis.IntCmd
	for n := 0; n < len(ids); n += ackChunk {
		cmd, p := r.ackCmd(ctx, ids[n:min(n+ackChunk, len(ids))])
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
		r.held.remove(ids[i*ackChunk : min((i+1)*ackChunk, len(ids))]) // only what was confirmed
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

// Nack gives entries back to be delivered again after a delay, without copying them and without
// counting a delivery: the next one does. Until then nobody gets them; then whoever looks first,
// this reader included. Entries that are not ours any more are left alone.
//
// Delays longer than the lease work for as long as this reader lives; should it die, the entry comes
// at most one lease later. Nacked entries are not held: they need no credit.
func (r *GroupReader) Nack(ctx context.Context, ids []string, after time.Duration) error {
	delays := make([]time.Duration, len(ids))
	for i := range delays {
		delays[i] = after
	}
	_, err := r.NackEach(ctx, ids, delays)
	return err
}

// NackEach is Nack with a delay for each entry. On an error it tells how many, from the first on, were surely given back:
// these must not be given back once more, for they may have been delivered again since.
func (r *GroupReader) NackEach(ctx context.Context, ids []string, after []time.Duration) (nacked int, err error) {
	if len(ids) != len(after) {
		return 0, fmt.Errorf("redisio: nack %d entries of %q with %d delays: make them as many", len(ids), keyName(r.cfg.Key), len(after))
	}
	if len(ids) == 0 || r.cfg.NoAck {
		return len(ids), nil
	}
	if err := r.usable(); err != nil {
		return 0, err
	}
	crowded := r.held.parkedCount()+len(ids) > maxParked
	now := time.Now()
	idle, due := make([]int64, min(len(ids), pageSize)), make([]time.Time, min(len(ids), pageSize))
	for n := 0; n < len(ids); n += pageSize {
		chunk := ids[n:min(n+pageSize, len(ids))]
		for i := range chunk {
			d := max(after[n+i], 0)
			if crowded {
				d = min(d, r.cfg.Lease)
			}
			idle[i], due[i] = r.idleFor(d), now.Add(d)
		}
		lost, err := r.giveBack(ctx, chunk, idle[:len(chunk)])
		if err != nil {
			return n, fmt.Errorf("redisio: nack %d entries of %q: %w", len(ids)-n, keyName(r.cfg.Key), err)
		}
		for i := range chunk {
			r.held.park(chunk[i:i+1], due[i], false)
		}
		r.held.unpark(lost)
	}
	return len(ids), nil
}

// Release gives entries back so that any other reader of the group can take them at once. This reader
// takes them again only when nobody else did for a lease. Entries that are not ours any more are left
// alone.
func (r *GroupReader) Release(ctx context.Context, ids []string) error {
	if len(ids) == 0 || r.cfg.NoAck {
		return nil
	}
	if err := r.usable(); err != nil {
		return err
	}
	return r.release(ctx, ids)
}

func (r *GroupReader) release(ctx context.Context, ids []string) error {
	idle := make([]int64, min(len(ids), pageSize))
	for i := range idle {
		idle[i] = r.cfg.Lease.Milliseconds()
	}
	due := time.Now().Add(r.cfg.Lease)
	for n := 0; n < len(ids); n += pageSize {
		chunk := ids[n:min(n+pageSize, len(ids))]
		lost, err := r.giveBack(ctx, chunk, idle[:len(chunk)])
		if err != nil {
			return fmt.Errorf("redisio: release %d entries of %q: %w", len(ids)-n, keyName(r.cfg.Key), err)
		}
		r.held.park(chunk, due, true)
		r.held.unpark(lost)
	}
	return nil
}

// releaseAll gives back everything held, and what is parked for later than the lease would tell others.
func (r *GroupReader) releaseAll(ctx context.Context) error {
	err := r.release(ctx, r.held.all())
	if judge(err) == lostGroup {
		return nil
	}
	return err
}

// giveBack is setIdle for entries that are ours still, in a group that may be gone.
func (r *GroupReader) giveBack(ctx context.Context, ids []string, idle []int64) ([]string, error) {
	lost, err := r.setIdle(ctx, ids, idle)
	if r.healed(ctx, err) {
		lost, err = r.setIdle(ctx, ids, idle)
	}
	return lost, err
}

// setIdle sets the idle time of entries that are pending for us and returns the ids that are not.
func (r *GroupReader) setIdle(ctx context.Context, ids []string, idle []int64) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	args := make([]any, 2, 2+2*len(ids))
	args[0], args[1] = r.cfg.Group, r.cfg.Consumer
	for i := range ids {
		args = append(args, &ids[i], &idle[i])
	}
	return r.control.Eval(ctx, scriptPark, []string{r.cfg.Key}, args...).StringSlice()
}

// DeadLetter is an entry to give up, and what to say about it: fields added behind the entry's own.
type DeadLetter struct {
	ID    string
	Extra Fields
}

// Dead moves entries to a dead-letter stream: a copy with all raw fields and the extra ones, and the
// ack, in one atomic step each. An entry that is pending for nobody any more is skipped, so repeating a
// call whose outcome is unknown makes no second copy. If the entry was trimmed, the copy has only the
// extra fields. On Redis Cluster deadKey must share the stream's hash slot: "{orders}", "{orders}.dead".
func (r *GroupReader) Dead(ctx context.Context, deadKey string, letters []DeadLetter) error {
	if len(letters) == 0 {
		return nil
	}
	if deadKey == "" || deadKey == r.cfg.Key {
		return &ConfigError{"Dead", "deadKey", fmt.Sprintf("is %q", deadKey), "name a stream for dead letters other than the one read"}
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
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (r *GroupReader) deadChunk(ctx context.Context, deadKey string, letters []DeadLetter) error {
	pipe := r.control.Pipeline()
	cmds := make([]*redis.Cmd, len(letters))
	ids := make([]string, len(letters))
	for i := range letters {
		ids[i] = letters[i].ID
	}
	defer r.held.settle(ids)()
	for i, l := range letters {
		args := make([]any, 0, 3+2*len(l.Extra))
		args = append(args, r.cfg.Group, l.ID, r.cfg.DeadMaxLen)
		for _, f := range l.Extra {
			args = append(args, f.Name, f.Value)
		}
		cmds[i] = pipe.Eval(ctx, scriptDead, []string{r.cfg.Key, deadKey}, args...)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	var done []string
	var first error
	failed, stale := 0, 0
	for i, cmd := range cmds {
		n, err := cmd.Int()
		if n < 0 {
			err = r.deadLarge(ctx, deadKey, letters[i])
		}
		if err != nil {
			failed++
			if first == nil {
				first = err
			}
			continue
		}
		done = append(done, letters[i].ID)
		if n == 0 {
			stale++
		}
	}
	r.held.remove(done)
	if stale > 0 {
		r.emit(Event{Kind: EventStaleAcks, Count: stale})
	}
	if first != nil {
		return fmt.Errorf("redisio: dead-letter %d of %d entries of %q to %q: %w",
			failed, len(letters), keyName(r.cfg.Key), keyName(deadKey), first)
	}
	return nil
}

// deadLarge moves an entry of more fields than a script can hand over. Here a repetition may make a second copy.
func (r *GroupReader) deadLarge(ctx context.Context, deadKey string, l DeadLetter) error {
	raw := redis.NewRawCmd(ctx, "xrange", r.cfg.Key, l.ID, l.ID)
	if err := r.control.Process(ctx, raw); err != nil {
		return err
	}
	var b Batch
	if err := parseEntries(raw.Val(), 0, &b); err != nil {
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
	tx := r.control.TxPipeline()
	tx.Do(ctx, args...)
	tx.XAck(ctx, r.cfg.Key, r.cfg.Group, l.ID)
	_, err := tx.Exec(ctx)
	return err
}
