package redisio

import (
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"
)

// releaseAll gives back everything held, in a group that may be gone: then it is made again, for nobody else knows of these
// entries. What was nacked for later keeps its time. The caller has the token.
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

// releaseUnknown gives back what is pending for us without our knowing: a reply was lost at the end, or a read cut off. Its
// delivery does not count, unless it is of an earlier life.
func (r *GroupReader) releaseUnknown(ctx context.Context) error {
	for from := (ID{}); ; {
		ids, counts, last, err := r.ownPending(ctx, r.control, from)
		if err != nil {
			return err
		}
		n := len(ids)
		if r.former {
			counts = nil
		}
		if err := r.release(ctx, r.held.unknown(ids), counts); err != nil {
			return err
		}
		if n < pageSize {
			return nil
		}
		from = last.Next()
	}
}

// letGo makes what was given back nobody's where the server has XNACK, so that this consumer can be deleted at once, and not when
// others have taken all that is pending in its name. An error says nothing new: it was given back before.
func (r *GroupReader) letGo(ctx context.Context) {
	if c := r.cfg.Capabilities; c != nil && !c.XNack {
		return
	}
	ids, _ := r.held.parkedWhere(func(p parked) bool { return p.released })
	for page := range slices.Chunk(ids, pageSize) {
		args := make([]any, 2, 2+len(page))
		args[0], args[1] = r.cfg.Group, r.cfg.Consumer
		for i := range page {
			args = append(args, &page[i])
		}
		if n, err := r.control.Eval(ctx, scriptLetGo, []string{r.cfg.Key}, args...).Int(); err != nil || n < 0 {
			return
		}
	}
}

// ownPending returns a page of what is pending for us, and how often each was delivered.
func (r *GroupReader) ownPending(ctx context.Context, c client, from ID) (ids []string, counts map[string]int64, last ID, err error) {
	page, err := c.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: r.cfg.Key, Group: r.cfg.Group,
		Start: from.String(), End: "+", Count: pageSize, Consumer: r.cfg.Consumer}).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, nil, ID{}, err
	}
	ids, counts = make([]string, len(page)), make(map[string]int64, len(page))
	for i := range page {
		ids[i] = page[i].ID
		counts[ids[i]] = page[i].RetryCount
	}
	if len(ids) > 0 {
		last, err = ParseID(ids[len(ids)-1])
	}
	return ids, counts, last, err
}
