package groupinfo

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// GroupInfo is the state of a group as the server sees it.
type GroupInfo struct {
	Pending    int64         // delivered and not settled, of all consumers
	Lag        int64         // not delivered yet; -1 if unknown (after deletions)
	Read       int64         // delivered since the beginning of the stream; 0 if unknown, as before Redis 7
	Consumers  int64         // consumers the group knows
	Delivered  string        // ID of the last entry delivered
	Oldest     string        // ID of the oldest pending entry, "" if none
	OldestIdle time.Duration // since it was delivered or its lease renewed
	Length     int64         // entries in the stream
}

// Ask returns the state of a group. A missing group is an error with the prefix NOGROUP.
func Ask(ctx context.Context, rdb redis.UniversalClient, key, group string) (GroupInfo, error) {
	pipe := rdb.Pipeline()
	groups := pipe.XInfoGroups(ctx, key)
	length := pipe.XLen(ctx, key)
	newest := pipe.XRevRangeN(ctx, key, "+", "-", 1)
	oldest := Oldest(ctx, pipe, key, group)
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
		info := From(g, oldest)
		info.Length = length.Val()
		if e := newest.Val(); len(e) > 0 {
			info.KnowLag(e[0].ID)
		} else if newest.Err() == nil {
			info.KnowLag("")
		}
		return info, nil
	}
	return GroupInfo{}, fault.ReplyError("NOGROUP no such group")
}

// Oldest queues a query for the oldest pending entry of a group.
func Oldest(ctx context.Context, pipe redis.Pipeliner, key, group string) *redis.XPendingExtCmd {
	return pipe.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: key, Group: group, Start: "-", End: "+", Count: 1})
}

// From builds the state of a group from the server's answers.
func From(g redis.XInfoGroup, oldest *redis.XPendingExtCmd) GroupInfo {
	info := GroupInfo{
		Pending: g.Pending, Lag: g.Lag, Read: g.EntriesRead, Consumers: g.Consumers, Delivered: g.LastDeliveredID,
	}
	if p := oldest.Val(); len(p) > 0 {
		info.Oldest, info.OldestIdle = p[0].ID, p[0].Idle
	}
	return info
}

// KnowLag sets the lag to 0 if the group has read the whole stream. Some servers don't know the lag or
// count it wrongly. newest is the ID of the stream's last entry, or "" for an empty stream.
func (i *GroupInfo) KnowLag(newest string) {
	if newest == "" {
		i.Lag = 0
		return
	}
	read, err := redisio.ParseID(i.Delivered)
	if id, idErr := redisio.ParseID(newest); err == nil && idErr == nil && id.Compare(read) <= 0 {
		i.Lag = 0
	}
}
