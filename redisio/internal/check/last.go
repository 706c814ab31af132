package check

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
)

// LastID returns the ID of the last entry of a stream, or zero for an empty stream.
func LastID(ctx context.Context, rdb redis.UniversalClient, key string) (redisio.ID, error) {
	var b redisio.Batch
	if err := conn.RawEntries(ctx, rdb, conn.Limit{}, &b, "xrevrange", key, "+", "-", "count", 1); err != nil {
		return redisio.ID{}, ReadError(key, err)
	}
	if len(b.Entries) == 0 {
		return redisio.ID{}, nil
	}
	return redisio.ParseID(b.Entries[0].ID)
}
