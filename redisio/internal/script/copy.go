package script

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
)

// Idea of this file: on a server with slots, behind whatever client, no script and no transaction
// may touch keys of two slots. Then an entry is moved in two steps: it is copied, and then it is
// settled, or deleted, where it was. The copy is made by a script on the target and a sorted set
// beside it, in its slot, that remembers what was copied. So a move that was cut off in between, or
// whose reply was lost, may be repeated, by whichever process: it makes no second copy.

const (
	CopiedFor  = 24 * time.Hour // how long a copy is remembered
	CopiedMost = 100_000        // copies; the oldest are forgotten
)

// CopiedKey is where a stream's copies are remembered, in its slot; "" if no other key is there.
func CopiedKey(to string) string { return redisio.Beside(to, ":copied") }

// CopyOnce appends fields to a stream, unless that was done under this name before. An entry that
// no script can write, or whose stream has no other key in its slot, may be copied twice.
func CopyOnce(
	ctx context.Context,
	rdb redis.UniversalClient,
	to, name string,
	maxLen int64,
	fields redisio.Fields,
) error {
	var err error
	if copied := CopiedKey(to); copied != "" && len(fields) <= MaxOnceFields {
		args := make([]any, 0, 5+2*len(fields))
		args = append(args, CopiedFor.Milliseconds(), CopiedMost, name, "*", 2*len(fields))
		for i := range fields {
			args = append(args, fields[i].Name, fields[i].Value)
		}
		var answers []any
		if answers, err = rdb.Eval(ctx, ScriptOnce, []string{to, copied}, args...).Slice(); err == nil &&
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
