package script

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// ReapChunk is the maximum number of consumers that one script deletes.
const ReapChunk = 100

// Reap deletes the consumers, except me, that have nothing pending and have been idle for idle.
//
// Idea: one command lists any number of consumers, so no script has to walk through them. Each
// script gets a hundred names and checks again that nothing is pending. It does no harm to delete a
// consumer that has become active meanwhile.
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
