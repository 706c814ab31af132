package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/groupinfo"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

// StreamState is the state of a stream.
type StreamState struct {
	Key    string
	Length int64
	First  string // ID of the oldest entry, "" in an empty stream
	Last   string // ID of the newest
	Groups int64
	Exists bool // false: the key does not exist
}

// Streams iterates over the keys that hold streams and match a glob pattern, such as "orders*". The
// empty pattern matches all. It scans every master of a cluster in small steps. This does not block
// other clients, but it takes a while on a server with many keys of other kinds. A key may occur
// twice if keys are added or removed meanwhile. An error is the last element.
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
					yield("", fmt.Errorf("redisio: scan for streams: %w%s", err, fault.Advice(err)))
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

// masters returns the servers that together hold all keys.
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
		return nil, check.NeedClient(rdb, "Streams")
	}
	return []redis.Cmdable{rdb}, nil
}

// InspectStreams returns the state of some streams in one round trip. A stream that does not exist
// has no entries and no groups.
func InspectStreams(ctx context.Context, rdb redis.UniversalClient, keys ...string) ([]StreamState, error) {
	if err := check.NeedClient(rdb, "InspectStreams"); err != nil {
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
		s := StreamState{
			Key:    keys[i],
			Length: a.length.Val(),
			Groups: int64(len(a.groups.Val())),
			Exists: a.groups.Err() == nil,
		}
		err := a.length.Err()
		if g := a.groups.Err(); err == nil && g != nil && !fault.RefusedKeys(g) {
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
			return nil, check.KeyError("inspect", keys[i], err)
		}
		states[i] = s
	}
	return states, nil
}

// GroupState is the state of a group of a stream.
type GroupState struct {
	groupinfo.GroupInfo
	Name string

	// LagAtLeast means that the lag is Lag or more. The server does not know the lag after entries
	// were deleted or a position was set. Then entries are counted, up to a bound.
	LagAtLeast bool
	Unread     string        // ID of the first entry that was not delivered yet, or ""
	UnreadAge  time.Duration // since it was added
	OldestAge  time.Duration // since the oldest pending entry was added
	Members    []ConsumerState
}

// ConsumerState is the state of a consumer of a group.
type ConsumerState struct {
	Name    string
	Pending int64
	// Idle is the time since its last command. Before Redis 7.2 it is the time since its last
	// delivery, so a reader that waits for entries looks idle there.
	Idle time.Duration
	// Uncertain means that the server is older than Redis 7.2: the consumer may be alive whatever
	// Idle is.
	Uncertain bool
}

// Bounds of what is read to count entries if the server does not know their number.
const (
	maxCounted      = 10_000
	maxCountedBytes = 16 << 20

	countedPageBytes = 1 << 20
)

// Groups returns the state of all groups of a stream. Ages are computed from the server's clock and
// the entries' IDs. It changes nothing. The cost is linear in the number of groups and consumers.
// If the server does not know the lag, one walk over at most 10,000 entries serves all groups.
func Groups(ctx context.Context, rdb redis.UniversalClient, key string) ([]GroupState, error) {
	return groupStates(ctx, rdb, "Groups", key, nil)
}

// FindGroup returns the state of one group of a stream, as [Groups] does. It returns
// [redisio.ErrNoGroup] if the stream has no such group.
func FindGroup(ctx context.Context, rdb redis.UniversalClient, key, name string) (GroupState, error) {
	states, err := groupStates(ctx, rdb, "FindGroup", key, &name)
	if err == nil && len(states) == 0 {
		err = fmt.Errorf("%w: %q in %q", redisio.ErrNoGroup, fault.KeyName(name), fault.KeyName(key))
	}
	if err != nil {
		return GroupState{}, err
	}
	return states[0], nil
}

// groupChunk is how many groups one pipeline asks for.
const groupChunk = 100

// groupStates inspects the groups of a stream, or only the group named only.
//
// Idea: XINFO GROUPS has no filter and reports all groups, so it is sent once. Pipelines for a
// hundred groups each ask for the rest.
func groupStates(ctx context.Context, rdb redis.UniversalClient, verb, key string, only *string) ([]GroupState, error) {
	if err := errors.Join(check.NeedClient(rdb, verb), check.NeedKey(verb, key)); err != nil {
		return nil, err
	}
	pipe := rdb.Pipeline()
	listed, length := pipe.XInfoGroups(ctx, key), pipe.XLen(ctx, key)
	newest := pipe.XRevRangeN(ctx, key, "+", "-", 1)
	_, _ = pipe.Exec(ctx) // each command has its own error
	if err := cmp.Or(listed.Err(), length.Err(), newest.Err()); err != nil {
		return nil, check.KeyError("list groups of", key, err)
	}
	all := listed.Val()
	if only != nil {
		all = slices.DeleteFunc(all, func(g redis.XInfoGroup) bool { return g.Name != *only })
	}
	now := serverTime(ctx, rdb)
	states := make([]GroupState, 0, len(all))
	for chunk := range slices.Chunk(all, groupChunk) {
		some, err := inspectGroups(ctx, rdb, key, chunk, now)
		if err != nil {
			return nil, err
		}
		states = append(states, some...)
	}
	last := ""
	if e := newest.Val(); len(e) > 0 {
		last = e[0].ID
	}
	for i := range states {
		states[i].Length = length.Val()
		states[i].KnowLag(last)
	}
	if err := countLags(ctx, rdb, key, states); err != nil {
		return nil, check.KeyError("count the entries of", key, err)
	}
	return states, nil
}

// inspectGroups asks for what XINFO GROUPS does not report, in one pipeline. It leaves out groups
// that were deleted meanwhile.
func inspectGroups(
	ctx context.Context,
	rdb redis.UniversalClient,
	key string,
	groups []redis.XInfoGroup,
	now time.Time,
) ([]GroupState, error) {
	type answers struct {
		consumers *redis.XInfoConsumersCmd
		oldest    *redis.XPendingExtCmd
		next      *redis.XMessageSliceCmd
	}
	all := make([]answers, len(groups))
	pipe := rdb.Pipeline()
	for i, g := range groups {
		read, err := redisio.ParseID(g.LastDeliveredID)
		if err != nil {
			return nil, err
		}
		all[i] = answers{pipe.XInfoConsumers(ctx, key, g.Name), groupinfo.Oldest(ctx, pipe, key, g.Name),
			pipe.XRangeN(ctx, key, read.Next().String(), "+", 1)}
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	states := make([]GroupState, 0, len(groups))
	for i, a := range all {
		g := groups[i]
		err := cmp.Or(a.consumers.Err(), a.next.Err())
		if pending := a.oldest.Err(); err == nil && !errors.Is(pending, redis.Nil) {
			err = pending
		}
		switch {
		case fault.Judge(err) == fault.LostGroup:
			continue
		case err != nil:
			return nil, check.KeyError(fmt.Sprintf("inspect group %q of", fault.KeyName(g.Name)), key, err)
		}
		s := GroupState{GroupInfo: groupinfo.From(g, a.oldest), Name: g.Name}
		for _, c := range a.consumers.Val() {
			s.Members = append(s.Members, ConsumerState{c.Name, c.Pending, c.Idle, c.Inactive == 0 && c.Idle > 0})
		}
		if found := a.next.Val(); len(found) > 0 && s.Delivered != redisio.MaxID.String() {
			s.Unread = found[0].ID
		}
		s.UnreadAge, s.OldestAge = age(s.Unread, now), age(s.Oldest, now)
		states = append(states, s)
	}
	return states, nil
}

// countLags computes the lag of those groups for which the server doesn't know it.
//
// Idea: one walk from the end of the stream backwards serves all of them, the group with the
// smallest lag first. It stops after maxCounted entries: groups that are further behind lag by at
// least that many.
func countLags(ctx context.Context, rdb redis.UniversalClient, key string, states []GroupState) error {
	type unknown struct {
		read  redisio.ID
		state *GroupState
	}
	var behind []unknown
	for i := range states {
		if states[i].Lag < 0 {
			read, err := redisio.ParseID(states[i].Delivered)
			if err != nil {
				return err
			}
			behind = append(behind, unknown{read, &states[i]})
		}
	}
	slices.SortFunc(behind, func(a, b unknown) int { return b.read.Compare(a.read) })
	n, bytes, to := int64(0), 0, redisio.MaxID
	var asks conn.Asking
	for len(behind) > 0 {
		var b redisio.Batch
		if n < maxCounted && bytes < maxCountedBytes {
			most := min(script.PageSize, int(maxCounted-n))
			if _, err := asks.Page(ctx, rdb, most, countedPageBytes, &b, nil, "xrevrange", key, to,
				redisio.ID{}); err != nil {
				return err
			}
			asks.Learn(&b)
			bytes += b.Bytes
		}
		for _, e := range b.Entries {
			id, err := redisio.ParseID(e.ID)
			if err != nil {
				return err
			}
			for len(behind) > 0 && id.Compare(behind[0].read) <= 0 {
				behind[0].state.Lag = n
				behind = behind[1:]
			}
			n, to = n+1, id.Prev()
		}
		if len(b.Entries) == 0 || to.IsZero() { // the beginning, or enough
			for _, u := range behind {
				u.state.Lag, u.state.LagAtLeast = n, n >= maxCounted || bytes >= maxCountedBytes
			}
			return nil
		}
	}
	return nil
}

// count returns the number of entries after from, up to to. It stops when counting gets expensive,
// and then reports more.
func count(
	ctx context.Context,
	rdb redis.UniversalClient,
	key string,
	from, to redisio.ID,
) (n int64, more bool, err error) {
	if from.Compare(to) >= 0 {
		return 0, false, nil
	}
	r, err := reader.NewRange(rdb, reader.RangeConfig{Key: key, From: from.Next(), To: to})
	if err != nil {
		return 0, false, err
	}
	if err := r.Open(ctx); err != nil {
		return 0, false, err
	}
	var b redisio.Batch
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

// serverTime returns the time of the server's clock, from which IDs are made. It returns the local
// time if TIME fails.
func serverTime(ctx context.Context, rdb redis.UniversalClient) time.Time {
	if now, err := rdb.Time(ctx).Result(); err == nil {
		return now
	}
	return time.Now()
}

// age returns the time since an entry was added, or 0 for an ID in the future.
func age(id string, now time.Time) time.Duration {
	at, err := redisio.ParseID(id)
	if err != nil {
		return 0
	}
	return max(0, now.Sub(at.Time()))
}
