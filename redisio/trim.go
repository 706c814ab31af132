package redisio

import (
	"context"
	"fmt"
	"math"

	"github.com/redis/go-redis/v9"
)

// TrimOptions say what Trim may drop.
type TrimOptions struct {
	Before ID   // drop entries before this ID; the zero ID means all that every group is done with
	Exact  bool // to the entry; the default frees whole nodes only, which is cheaper
}

// Trim drops old entries that every consumer group has read and settled, and no others: what is pending
// or not delivered stays, unlike with a writer's MaxLen. A stream without groups is trimmed up to Before.
// It returns how many entries went.
func Trim(ctx context.Context, rdb redis.UniversalClient, key string, o TrimOptions) (int64, error) {
	before := o.Before
	if before.IsZero() {
		before = ID{math.MaxUint64, math.MaxUint64}
		groups, err := rdb.XInfoGroups(ctx, key).Result()
		if refusedKeys(err) {
			return 0, nil
		}
		if err != nil {
			return 0, fmt.Errorf("redisio: trim %q: %w", keyName(key), err)
		}
		if len(groups) == 0 {
			return 0, nil // nobody is done with anything
		}
	}
	how := "~"
	if o.Exact {
		how = "="
	}
	n, err := rdb.Eval(ctx, scriptTrim, []string{key}, before.String(), how).Int64()
	if err != nil {
		return 0, fmt.Errorf("redisio: trim %q: %w", keyName(key), err)
	}
	return n, nil
}
