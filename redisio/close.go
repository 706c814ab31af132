package redisio

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// releaseAll gives back everything held, in a group that may be gone: then it is made again, for
// nobody else knows of these entries. What was nacked for later keeps its time. The caller has the
// token.
func (r *GroupReader) releaseAll(ctx context.Context) error {
	err := r.releaseOnce(ctx)
	if judge(err) == lostGroup && r.cfg.OnLostGroup != LostGroupFail {
		if err = r.heal(ctx); err == nil {
			err = r.releaseOnce(ctx)
		}
	}
	if judge(err) == lostGroup {
		return nil // destroyed again: it is not to be
	}
	return err
}

func (r *GroupReader) releaseOnce(ctx context.Context) error {
	if err := r.look(ctx, r.control); err != nil {
		return err
	}
	if err := r.release(ctx, r.held.all(), nil); err != nil {
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
func (r *GroupReader) releaseUnknown(ctx context.Context) error {
	for from := (ID{}); ; {
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
		if err := r.release(ctx, r.held.strangers(ids), counts); err != nil {
			return err
		}
		if len(page) < pageSize {
			return nil
		}
		from = last.Next()
	}
}

// ownPending returns a page of what is pending for us.
func (r *GroupReader) ownPending(
	ctx context.Context,
	c client,
	from ID,
) (page []redis.XPendingExt, last ID, err error) {
	page, err = c.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: r.cfg.Key, Group: r.cfg.Group,
		Start: from.String(), End: "+", Count: pageSize, Consumer: r.cfg.Consumer}).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, ID{}, err
	}
	if len(page) > 0 {
		last, err = ParseID(page[len(page)-1].ID)
		return page, last, err
	}
	return nil, ID{}, nil
}
