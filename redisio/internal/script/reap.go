package script

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// ReapChunk is how many consumers one script deletes at most.
const ReapChunk = 100

// Reap deletes the consumers of the past but for me.
//
// Idea: the list of consumers is one command for any number of them, so no script has to walk
// through it. Each script is given a hundred names. It checks again that nothing is pending; that a
// consumer came back to life meanwhile does no harm.
func Reap(
	ctx context.Context,
	rdb redis.UniversalClient,
	key, group, me string,
	idle time.Duration,
) (reaped int64, err error) {
	all, err := rdb.XInfoConsumers(ctx, key, group).Result()
	if err != nil {
		return 0, err
	}
	past := make([]any, 0, len(all))
	for _, c := range all {
		if c.Pending == 0 && c.Idle >= idle && c.Name != me {
			past = append(past, c.Name)
		}
	}
	for names := range slices.Chunk(past, ReapChunk) {
		n, err := rdb.Eval(ctx, scriptReap, []string{key}, append([]any{group}, names...)...).Int64()
		reaped += n
		if err != nil {
			return reaped, err
		}
	}
	return reaped, nil
}
