package redisio

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// Idea of this file: on a server with slots, behind whatever client, no script and no transaction
// may touch keys of two slots. Then an entry is moved in two steps: it is copied, and then it is
// settled, or deleted, where it was. The copy is made by a script on the target and a sorted set
// beside it, in its slot, that remembers what was copied. So a move that was cut off in between, or
// whose reply was lost, may be repeated, by whichever process: it makes no second copy.

const (
	copiedFor  = 24 * time.Hour // how long a copy is remembered
	copiedMost = 100_000        // copies; the oldest are forgotten
)

// copiedKey is where a stream's copies are remembered, in its slot; "" if no other key is there.
func copiedKey(to string) string { return beside(to, ":copied") }

// copyOnce appends fields to a stream, unless that was done under this name before. An entry that
// no script can write, or whose stream has no other key in its slot, may be copied twice.
func copyOnce(ctx context.Context, rdb redis.UniversalClient, to, name string, maxLen int64, fields Fields) error {
	var err error
	if copied := copiedKey(to); copied != "" && len(fields) <= maxOnceFields {
		args := make([]any, 0, 5+2*len(fields))
		args = append(args, copiedFor.Milliseconds(), copiedMost, name, "*", 2*len(fields))
		for i := range fields {
			args = append(args, fields[i].Name, fields[i].Value)
		}
		var answers []any
		if answers, err = rdb.Eval(ctx, scriptOnce, []string{to, copied}, args...).Slice(); err == nil &&
			len(answers) == 1 {
			err, _ = answers[0].(error)
		}
	} else {
		args := make([]any, 0, 3+2*len(fields))
		args = append(args, "xadd", to, "*")
		for i := range fields {
			args = append(args, fields[i].Name, fields[i].Value)
		}
		err = rdb.Do(ctx, args...).Err()
	}
	if err == nil && maxLen > 0 {
		err = rdb.XTrimMaxLenApprox(ctx, to, maxLen, 0).Err()
	}
	return err
}

// mayCopy finds out whether copyOnce may write to a stream, without writing.
func (r *GroupReader) mayCopy(ctx context.Context, to string) error {
	kind, err := r.control.Type(ctx, to).Result()
	if err == nil && kind != "none" && kind != "stream" {
		return replyError("WRONGTYPE the dead-letter key holds a " + kind)
	}
	if err := mayWrite(ctx, r.control, to); err != nil {
		return err
	}
	if copied := copiedKey(to); copied != "" {
		err = r.control.Eval(ctx, scriptOnce, []string{to, copied}, copiedFor.Milliseconds(), copiedMost).Err()
	}
	if noRight(err) || isWrongType(err) {
		return err
	}
	return nil
}

// deadApart is what scriptDead does, in two steps: see there for what it returns.
func (r *GroupReader) deadApart(ctx context.Context, deadKey string, l DeadLetter, live bool) (int, error) {
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
	var b Batch
	if err := parseEntries(raw.Val(), 0, &b); err != nil {
		return 0, err
	}
	var fields Fields
	for _, e := range b.Entries {
		fields = append(fields, e.Fields...)
	}
	if fields = append(fields, l.Extra...); len(fields) > 0 { // else nothing is left to keep
		name := "dead\n" + r.cfg.Key + "\n" + r.cfg.Group + "\n" + l.ID
		if err := copyOnce(ctx, r.control, deadKey, name, r.cfg.DeadMaxLen, fields); err != nil {
			return 0, err
		}
	}
	return 1, r.control.Eval(ctx, scriptAck, []string{r.cfg.Key}, r.cfg.Group, r.cfg.Consumer, l.ID).Err()
}
