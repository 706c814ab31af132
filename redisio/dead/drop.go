package dead

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// DropOptions configure a drop.
type DropOptions struct {
	DryRun     bool        // only count
	OnProgress func(int64) // called with the number so far
}

// Drop deletes dead letters permanently and returns their number; in a dry run, the number it would
// delete. The zero filter selects all dead letters that exist now.
func Drop(
	ctx context.Context,
	rdb redis.UniversalClient,
	key string,
	f Filter,
	o DropOptions,
) (dropped int64, err error) {
	err = deadPages(ctx, rdb, key, f, pagesByRange, func(page []Entry, _ int) error {
		if len(page) == 0 {
			return nil
		}
		n := int64(len(page))
		if !o.DryRun {
			ids := make([]string, len(page))
			for i := range page {
				ids[i] = page[i].ID
			}
			var err error
			if n, err = rdb.XDel(ctx, key, ids...).Result(); err != nil {
				return check.KeyError("drop dead letters of", key, err)
			}
		}
		dropped += n
		if o.OnProgress != nil {
			fault.Notify("DropOptions.OnProgress", func() { o.OnProgress(dropped) })
		}
		return nil
	})
	return dropped, err
}
