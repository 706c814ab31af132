package reader

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// mayCopy finds out whether copyOnce may write to a stream, without writing.
func (r *Group) mayCopy(ctx context.Context, to string) error {
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

// deadApart is what scriptDead does, in two steps: see there for what it returns.
func (r *Group) deadApart(ctx context.Context, deadKey string, l DeadLetter, live bool) (int, error) {
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
	if fields = append(fields, l.Extra...); len(fields) > 0 { // else nothing is left to keep
		name := "dead\n" + r.cfg.Key + "\n" + r.cfg.Group + "\n" + l.ID
		if err := script.CopyOnce(ctx, r.control, deadKey, name, r.cfg.DeadMaxLen, fields); err != nil {
			return 0, err
		}
	}
	return 1, r.control.Eval(ctx, script.ScriptAck, []string{r.cfg.Key}, r.cfg.Group, r.cfg.Consumer, l.ID).Err()
}
