package redisio

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// GroupInfo is the state of a group as the server sees it.
type GroupInfo struct {
	Pending    int64         // delivered and not settled, by all consumers
	Lag        int64         // not delivered yet; -1 if it can't be known (after deletions)
	Consumers  int64         // consumers the group knows
	Delivered  string        // ID of the last entry delivered
	Oldest     string        // ID of the oldest pending entry, "" if none
	OldestIdle time.Duration // since it was delivered or its lease renewed
	Length     int64         // entries in the stream
}

// Held returns how many entries were handed out and not settled.
func (r *GroupReader) Held() int { return r.held.count() }

// Parked returns how many nacked or released entries wait for their time.
func (r *GroupReader) Parked() int { return r.held.parkedCount() }

// Info asks the server for the state of the group.
func (r *GroupReader) Info(ctx context.Context) (GroupInfo, error) {
	if err := r.usable(); err != nil {
		return GroupInfo{}, err
	}
	info, err := groupInfo(ctx, r.control, r.cfg.Key, r.cfg.Group)
	if err != nil {
		return GroupInfo{}, fmt.Errorf("redisio: info of group %q of %q: %w", r.cfg.Group, keyName(r.cfg.Key), err)
	}
	return info, nil
}

func groupInfo(ctx context.Context, rdb redis.UniversalClient, key, group string) (GroupInfo, error) {
	pipe := rdb.Pipeline()
	groups := pipe.XInfoGroups(ctx, key)
	length := pipe.XLen(ctx, key)
	newest := pipe.XRevRangeN(ctx, key, "+", "-", 1)
	oldest := oldestPending(ctx, pipe, key, group)
	_, _ = pipe.Exec(ctx) // each command has its own error
	if err := errors.Join(groups.Err(), length.Err()); err != nil {
		return GroupInfo{}, err
	}
	for _, g := range groups.Val() {
		if g.Name != group {
			continue
		}
		if err := oldest.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return GroupInfo{}, err
		}
		info := groupInfoOf(g, oldest)
		info.Length = length.Val()
		if e := newest.Val(); len(e) > 0 {
			info.knowLag(e[0].ID)
		} else if newest.Err() == nil {
			info.knowLag("")
		}
		return info, nil
	}
	return GroupInfo{}, replyError("NOGROUP no such group")
}

// oldestPending asks for the oldest pending entry of a group.
func oldestPending(ctx context.Context, pipe redis.Pipeliner, key, group string) *redis.XPendingExtCmd {
	return pipe.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: key, Group: group, Start: "-", End: "+", Count: 1})
}

// groupInfoOf puts together what the server said of a group.
func groupInfoOf(g redis.XInfoGroup, oldest *redis.XPendingExtCmd) GroupInfo {
	info := GroupInfo{Pending: g.Pending, Lag: g.Lag, Consumers: g.Consumers, Delivered: g.LastDeliveredID}
	if p := oldest.Val(); len(p) > 0 {
		info.Oldest, info.OldestIdle = p[0].ID, p[0].Idle
	}
	return info
}

// knowLag sets the lag of a group that has read all of the stream. Some servers don't know the lag,
// or count wrongly. newest is the ID of the stream's last entry, "" if it has none.
func (i *GroupInfo) knowLag(newest string) {
	if newest == "" {
		i.Lag = 0
		return
	}
	read, err := ParseID(i.Delivered)
	if id, idErr := ParseID(newest); err == nil && idErr == nil && id.Compare(read) <= 0 {
		i.Lag = 0
	}
}
