package redisio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// StreamState is what a stream is like.
type StreamState struct {
	Key    string
	Length int64
	First  string // ID of the oldest entry, "" if there is none
	Last   string // ID of the newest
	Groups int64
}

// Streams goes through the keys that hold streams and match a glob pattern, as "orders*"; the empty pattern matches all.
// It scans, in small steps, every master of a cluster: other clients are not held up, but a server with many keys of other
// kinds takes a while. A key may come twice while keys are added or removed. An error is the last element.
func Streams(ctx context.Context, rdb redis.UniversalClient, pattern string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		nodes, err := masters(ctx, rdb)
		if err != nil {
			yield("", fmt.Errorf("redisio: scan for streams: %w", err))
			return
		}
		if pattern == "" {
			pattern = "*"
		}
		for _, node := range nodes {
			for cursor := uint64(0); ; {
				keys, next, err := node.ScanType(ctx, cursor, pattern, 1000, "stream").Result()
				if err != nil {
					yield("", fmt.Errorf("redisio: scan for streams: %w%s", err, advice(err)))
					return
				}
				for _, key := range keys {
					if !yield(key, nil) {
						return
					}
				}
				if cursor = next; cursor == 0 {
					break
				}
			}
		}
	}
}

// masters are the servers that have the keys between them.
func masters(ctx context.Context, rdb redis.UniversalClient) (nodes []redis.Cmdable, err error) {
	var mu sync.Mutex
	gather := func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		nodes = append(nodes, c)
		return nil
	}
	switch c := rdb.(type) {
	case *redis.ClusterClient:
		return nodes, c.ForEachMaster(ctx, gather)
	case *redis.Ring:
		return nodes, c.ForEachShard(ctx, gather)
	case nil:
		return nil, needClient(rdb, "Streams")
	}
	return []redis.Cmdable{rdb}, nil
}

// InspectStreams tells of some streams in one round trip. What does not exist has no entries and no groups.
func InspectStreams(ctx context.Context, rdb redis.UniversalClient, keys ...string) ([]StreamState, error) {
	if err := needClient(rdb, "InspectStreams"); err != nil {
		return nil, err
	}
	type answers struct {
		length *redis.IntCmd
		ends   [2]*redis.XMessageSliceCmd
		groups *redis.XInfoGroupsCmd
	}
	pipe := rdb.Pipeline()
	all := make([]answers, len(keys))
	for i, key := range keys {
		ends := [2]*redis.XMessageSliceCmd{pipe.XRangeN(ctx, key, "-", "+", 1), pipe.XRevRangeN(ctx, key, "+", "-", 1)}
		all[i] = answers{pipe.XLen(ctx, key), ends, pipe.XInfoGroups(ctx, key)}
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	states := make([]StreamState, len(keys))
	for i, a := range all {
		s := StreamState{Key: keys[i], Length: a.length.Val(), Groups: int64(len(a.groups.Val()))}
		err := a.length.Err()
		if g := a.groups.Err(); err == nil && g != nil && !refusedKeys(g) {
			err = g
		}
		for n, id := range []*string{&s.First, &s.Last} {
			if err == nil {
				err = a.ends[n].Err()
			}
			if found := a.ends[n].Val(); len(found) > 0 {
				*id = found[0].ID
			}
		}
		if err != nil {
			return nil, keyError("inspect", keys[i], err)
		}
		states[i] = s
	}
	return states, nil
}

// GroupState is what a group of a stream is like.
type GroupState struct {
	GroupInfo
	Name string

	// LagAtLeast: the server could not tell the lag (it can't after entries were deleted, or a position was set), so
	// entries were counted until it was enough: there are Lag, or more.
	LagAtLeast bool
	Unread     string        // ID of the first entry that was not delivered yet, "" if none
	UnreadAge  time.Duration // since it was added
	OldestAge  time.Duration // since the oldest pending entry was added
	Members    []ConsumerState
}

// ConsumerState is what a consumer of a group is like.
type ConsumerState struct {
	Name    string
	Pending int64
	// Idle is how long nothing was heard of it. Before Redis 7.2 that is how long it has got nothing: a reader that waits
	// for entries looks idle there.
	Idle time.Duration
}

// Bounds of what is read to count entries where the server does not tell.
const (
	maxCounted      = 10_000
	maxCountedBytes = 16 << 20
)

// Groups tells of all groups of a stream. Ages are by the server's clock and the entries' IDs. It changes nothing.
func Groups(ctx context.Context, rdb redis.UniversalClient, key string) ([]GroupState, error) {
	if err := errors.Join(needClient(rdb, "Groups"), needKey("Groups", key)); err != nil {
		return nil, err
	}
	groups, err := rdb.XInfoGroups(ctx, key).Result()
	if err != nil {
		return nil, keyError("list groups of", key, err)
	}
	now := serverTime(ctx, rdb)
	states := make([]GroupState, 0, len(groups))
	for _, g := range groups {
		s, err := groupState(ctx, rdb, key, g.Name, now)
		if judge(err) == lostGroup {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, keyError(fmt.Sprintf("inspect group %q of", g.Name), key, err)
		}
		states = append(states, s)
	}
	return states, nil
}

func groupState(ctx context.Context, rdb redis.UniversalClient, key, name string, now time.Time) (GroupState, error) {
	s := GroupState{Name: name}
	var err error
	if s.GroupInfo, err = groupInfo(ctx, rdb, key, name); err != nil {
		return s, err
	}
	read, err := ParseID(s.Delivered)
	if err != nil {
		return s, err
	}
	pipe := rdb.Pipeline()
	consumers := pipe.XInfoConsumers(ctx, key, name)
	next := pipe.XRangeN(ctx, key, read.Next().String(), "+", 1)
	_, _ = pipe.Exec(ctx) // each command has its own error
	if err := errors.Join(consumers.Err(), next.Err()); err != nil {
		return s, err
	}
	for _, c := range consumers.Val() {
		s.Members = append(s.Members, ConsumerState{c.Name, c.Pending, c.Idle})
	}
	if found := next.Val(); len(found) > 0 && read != maxID {
		s.Unread = found[0].ID
	}
	s.UnreadAge, s.OldestAge = age(s.Unread, now), age(s.Oldest, now)
	if s.Lag < 0 {
		s.Lag, s.LagAtLeast, err = count(ctx, rdb, key, read, maxID)
	}
	return s, err
}

var maxID = ID{math.MaxUint64, math.MaxUint64}

// count counts the entries behind from, up to to, as long as that is cheap.
func count(ctx context.Context, rdb redis.UniversalClient, key string, from, to ID) (n int64, more bool, err error) {
	if from.Compare(to) >= 0 {
		return 0, false, nil
	}
	r, err := NewRangeReader(rdb, RangeConfig{Key: key, From: from.Next(), To: to})
	if err != nil {
		return 0, false, err
	}
	if err := r.Open(ctx); err != nil {
		return 0, false, err
	}
	var b Batch
	for bytes := 0; ; bytes += b.Bytes {
		if n >= maxCounted || bytes >= maxCountedBytes {
			return n, true, nil
		}
		if err := r.Read(ctx, 1000, 1<<20, &b); errors.Is(err, io.EOF) {
			return n, false, nil
		} else if err != nil {
			return n, false, err
		}
		n += int64(len(b.Entries))
	}
}

// serverTime is the clock that IDs come from, or ours where asking is not allowed.
func serverTime(ctx context.Context, rdb redis.UniversalClient) time.Time {
	if now, err := rdb.Time(ctx).Result(); err == nil {
		return now
	}
	return time.Now()
}

// age is how long ago an entry was added; IDs that lie in the future are new.
func age(id string, now time.Time) time.Duration {
	at, err := ParseID(id)
	if err != nil {
		return 0
	}
	return max(0, now.Sub(at.Time()))
}
