package script

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
)

// Idea of this file: on a server with slots, whatever the client, no script and no transaction may
// touch keys of two slots. There an entry is moved in two steps: it is copied, and then the
// original is settled or deleted. A script makes the copy. It uses the target and a sorted set in
// the target's slot that remembers what was copied. So if a move was interrupted or its reply was
// lost, any process may repeat it without a second copy.

const (
	CopiedFor  = 24 * time.Hour // how long a copy is remembered
	CopiedMost = 100_000        // the number of copies remembered; the oldest are forgotten
)

// CopiedKey returns the key that remembers a stream's copies, in the stream's slot. It returns ""
// if no other key can share the slot.
func CopiedKey(to string) string { return redisio.Beside(to, ":copied") }

// CopyOnce appends fields to a stream, unless it has done so under this name before. It may copy an
// entry twice if no script can write it, or if no other key can share the slot of the stream.
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
