package reader

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// releaseAll gives back everything held, in a group that may be gone: then it is made again, for
// nobody else knows of these entries. What was nacked for later keeps its time. The caller has the
// token.
func (r *Group) releaseAll(ctx context.Context) error {
	err := r.releaseOnce(ctx)
	if fault.Judge(err) == fault.LostGroup && r.cfg.OnLostGroup != LostGroupFail {
		if err = r.heal(ctx); err == nil {
			err = r.releaseOnce(ctx)
		}
	}
	if fault.Judge(err) == fault.LostGroup {
		return nil // destroyed again: it is not to be
	}
	return err
}

func (r *Group) releaseOnce(ctx context.Context) error {
	if err := r.Look(ctx, r.control); err != nil {
		return err
	}
	if err := r.release(ctx, r.held.All(), nil); err != nil {
		return err
	}
	if r.wiped.Swap(false) {
		if _, err := r.restoreParked(ctx); err != nil {
			return err
		}
	}
	return r.releaseUnknown(ctx)
}

// releaseUnknown gives back what is pending for us without our knowing: a reply was lost at the
// end, or a read cut off. Its delivery does not count, unless it is of an earlier life.
func (r *Group) releaseUnknown(ctx context.Context) error {
	for from := (redisio.ID{}); ; {
		page, last, err := r.ownPending(ctx, r.control, from)
		if err != nil {
			return err
		}
		ids, counts := make([]string, len(page)), make(map[string]int64, len(page))
		for i, p := range page {
			ids[i], counts[p.ID] = p.ID, p.RetryCount
		}
		if r.former {
			counts = nil
		}
		if err := r.release(ctx, r.held.Strangers(ids), counts); err != nil {
			return err
		}
		if len(page) < script.PageSize {
			return nil
		}
		from = last.Next()
	}
}

// ownPending returns a page of what is pending for us.
func (r *Group) ownPending(
	ctx context.Context,
	c conn.Client,
	from redisio.ID,
) (page []redis.XPendingExt, last redisio.ID, err error) {
	page, err = c.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: r.cfg.Key, Group: r.cfg.Group,
		Start: from.String(), End: "+", Count: script.PageSize, Consumer: r.cfg.Consumer}).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, redisio.ID{}, err
	}
	if len(page) > 0 {
		last, err = redisio.ParseID(page[len(page)-1].ID)
		return page, last, err
	}
	return nil, redisio.ID{}, nil
}
