package reader

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/held"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// DeadLetter is an entry for the dead-letter stream. Extra fields follow the entry's own.
type DeadLetter struct {
	ID    string
	Extra redisio.Fields
}

// Dead moves entries to a dead-letter stream. One atomic step each copies all raw fields and the
// extra ones, and acks the entry. An entry that another consumer has is skipped. A repeated call makes
// no second copy: it finds the first by the extra field dead:id, and dead:group if set, see
// [github.com/streamerson/streamerson-go/redisio/dead.Reason.Fields]. If the entry was trimmed, the
// copy has only the extra fields.
//
// On a server with slots, if deadKey is in another slot than the stream, the move takes two steps.
// A key next to deadKey, such as {orders:dead}:copied, remembers the copy, so it is made once. It
// keeps the last 100,000 copies for a day.
func (r *settler) Dead(ctx context.Context, deadKey string, letters []DeadLetter) error {
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
	if err := r.loop.usable(); err != nil {
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
			errs = append(errs, r.healer.failing(err))
		}
	}
	return errors.Join(errs...)
}

func (r *settler) deadChunk(ctx context.Context, deadKey string, letters []DeadLetter) error {
	ids := make([]string, len(letters))
	for i := range letters {
		ids[i] = letters[i].ID
	}
	finish, err := r.held.Settle(ctx, ids)
	if err != nil {
		return r.failed("dead-letter", len(letters), err)
	}
	defer finish()
	now, lease := time.Now(), r.cfg.Lease
	if len(r.held.LapsedOf(ids, now, lease)) > 0 && r.listLost(ctx) {
		lease = math.MaxInt64 // restore all
	}
	asks := r.held.Asks(ids, now, lease)
	cmds := r.sendDead(ctx, deadKey, letters, asks)
	var done []string
	var first error
	failed, stale, late, dropped := 0, 0, 0, 0
	for i, l := range letters {
		n, err := r.deadResult(ctx, deadKey, l, cmds[i], asks[i].N > 0)
		if err != nil {
			failed++
			if first == nil {
				first = err
			}
			continue
		}
		done = append(done, l.ID)
		switch n {
		case 0:
			stale++
		case -2:
			late++
		default:
			dropped += max(0, n-1)
		}
	}
	r.held.Move(done, held.Settled)
	r.held.Move(done, held.Finished)
	r.emitCount(redisio.EventDeadDropped, dropped)
	r.emitCount(redisio.EventLateAcks, late)
	r.emitCount(redisio.EventStaleAcks, stale)
	if r.cfg.DeleteSettled && len(done) > 0 {
		_, _, _ = r.settleAndDelete(ctx, done, true) // the next ack deletes what is left
	}
	if first != nil {
		return fmt.Errorf("redisio: dead-letter %d of %s of %q to %q: %w",
			failed, fault.Plural(len(letters), "entry", "entries"),
			fault.KeyName(r.cfg.Key), fault.KeyName(deadKey), first)
	}
	return nil
}

// sendDead runs ScriptDead for each letter. If the dead stream is in another slot, it runs none.
func (r *settler) sendDead(ctx context.Context, deadKey string, letters []DeadLetter, asks []held.Ask) []*redis.Cmd {
	cmds := make([]*redis.Cmd, len(letters))
	if r.apart.Load() {
		return cmds
	}
	pipe := r.control.Pipeline()
	for i, l := range letters {
		args := make([]any, 0, 5+2*len(l.Extra))
		args = append(args, r.cfg.Group, r.cfg.Consumer, l.ID, max(0, r.cfg.DeadMaxLen), min(asks[i].N, 1))
		for _, f := range l.Extra {
			args = append(args, f.Name, f.Value)
		}
		cmds[i] = pipe.Eval(ctx, script.ScriptDead, []string{r.cfg.Key, deadKey}, args...)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	return cmds
}

// deadResult returns the number that ScriptDead returned. If the script cannot move the letter,
// deadResult moves it.
func (r *settler) deadResult(
	ctx context.Context,
	deadKey string,
	l DeadLetter,
	cmd *redis.Cmd,
	live bool,
) (int, error) {
	if cmd == nil {
		return r.deadApart(ctx, deadKey, l, live)
	}
	n, err := cmd.Int()
	if n == -1 {
		err = r.deadLarge(ctx, deadKey, l)
	}
	if fault.CrossSlot(err) {
		r.apart.Store(true)
		return r.deadApart(ctx, deadKey, l, live)
	}
	return n, err
}

// deadLarge moves an entry with more fields than a script can pass on, after the script has found it
// pending for this consumer. The client must not retry this by itself. If the caller retries, the
// script runs first and finds the copy.
func (r *settler) deadLarge(ctx context.Context, deadKey string, l DeadLetter) error {
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

// mayCopy checks that CopyOnce may write to a stream, without writing.
func (r *settler) mayCopy(ctx context.Context, to string) error {
	kind, err := r.control.Type(ctx, to).Result()
	if err == nil && kind != "none" && kind != "stream" {
		return fault.ReplyError("WRONGTYPE the dead-letter key holds a " + kind)
	}
	if err := script.MayWrite(ctx, r.control, to); err != nil {
		return err
	}
	if copied := script.CopiedKey(to); copied != "" {
		err = r.control.Eval(ctx, script.ScriptOnce, []string{to, copied}, script.CopiedFor.Milliseconds(),
			script.CopiedMost).
			Err()
	}
	if fault.NoRight(err) || fault.IsWrongType(err) {
		return err
	}
	return nil
}

// deadApart performs the work of ScriptDead in two steps, and returns the same numbers.
func (r *settler) deadApart(ctx context.Context, deadKey string, l DeadLetter, live bool) (int, error) {
	pipe := r.control.Pipeline()
	pending := pipe.XPendingExt(
		ctx,
		&redis.XPendingExtArgs{Stream: r.cfg.Key, Group: r.cfg.Group, Start: l.ID, End: l.ID, Count: 1},
	)
	raw := redis.NewRawCmd(ctx, "xrange", r.cfg.Key, l.ID, l.ID)
	_ = pipe.Process(ctx, raw) // only queues
	_, _ = pipe.Exec(ctx)      // each command has its own error
	if err := pending.Err(); err != nil && !errors.Is(err, redis.Nil) {
		return 0, err
	}
	if err := raw.Err(); err != nil {
		return 0, err
	}
	switch p := pending.Val(); {
	case len(p) == 0 && !live:
		return 0, nil
	case len(p) > 0 && p[0].Consumer != r.cfg.Consumer:
		return -2, nil
	}
	var b redisio.Batch
	if err := resp.ParseEntries(raw.Val(), 0, &b); err != nil {
		return 0, err
	}
	var fields redisio.Fields
	for _, e := range b.Entries {
		fields = append(fields, e.Fields...)
	}
	if fields = append(fields, l.Extra...); len(fields) > 0 { // else there is nothing to copy
		name := "dead\n" + r.cfg.Key + "\n" + r.cfg.Group + "\n" + l.ID
		if err := script.CopyOnce(ctx, r.control, deadKey, name, r.cfg.DeadMaxLen, fields); err != nil {
			return 0, err
		}
	}
	return 1, r.control.Eval(ctx, script.ScriptAck, []string{r.cfg.Key}, r.cfg.Group, r.cfg.Consumer, l.ID).Err()
}

// CheckDead checks that [Group.Dead] may write to deadKey, without writing. It returns
// a *PermanentError if a right is missing, or if the key holds another type than a stream. It
// returns nil if the server gives no answer.
func (r *settler) CheckDead(ctx context.Context, deadKey string) error {
	if err := r.loop.usable(); err != nil {
		return err
	}
	cmd := r.control.Eval(ctx, scriptDeadRights, []string{r.cfg.Key, deadKey})
	err := script.RightsOf(cmd)
	if fault.CrossSlot(cmd.Err()) {
		r.apart.Store(true)
		err = r.mayCopy(ctx, deadKey)
	}
	if err != nil {
		return &redisio.PermanentError{Op: "write dead letters to", Key: deadKey, Err: err}
	}
	return nil
}

// scriptDeadRights: KEYS stream, dead stream. Returns the errors of the commands of ScriptDead, and
// an error if the dead stream has another type.
const scriptDeadRights = `
local out = {}
local function note(r) if type(r) == 'table' and r['err'] then out[#out+1] = r['err'] end end
local t = redis.pcall('TYPE', KEYS[2])
note(t)
note(redis.pcall('XADD', KEYS[2], '0-0', 'f', 'v'))
note(redis.pcall('XREVRANGE', KEYS[2], '0-0', '0-0'))
note(redis.pcall('XRANGE', KEYS[1], '0-0', '0-0'))
if t['ok'] and t['ok'] ~= 'none' and t['ok'] ~= 'stream' then
  out[#out+1] = 'WRONGTYPE the dead-letter key holds a '..t['ok']
end
return out`
