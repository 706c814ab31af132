package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	hub = "chat"

	maxRooms   = 50
	history    = 50               // number of stored lines of a conversation
	keepFor    = 24 * time.Hour   // conversations, and empty rooms
	present    = 40 * time.Second // silent users count as gone; pages send a message every 15 seconds
	leaving    = 6 * time.Second  // time to come back after the socket was closed
	ratePeriod = 5 * time.Second
	rateLines  = 10 // per user and period
	ratePasts  = 30 // conversations sent again, per user and period
)

// firstRooms always exist.
var firstRooms = []string{"lobby", "random", "help"}

// store is the state of the workers in Redis. They have no other state, so there may be any number
// of them, and each may end at any time. All calls are idempotent, because a call is repeated when a
// worker dies.
//
//	{chat}:past:<conversation>   sorted set of lines, by time
//	{chat}:here:<room>           sorted set of "user session", by the time after which they count as gone
//	{chat}:rooms                 sorted set of rooms, by the time of the last visit or line
//	{chat}:listed                the list of rooms that was sent last
//	{chat}:rate:<what>:<user>:<period>  counter
type store struct{ rdb redis.UniversalClient }

// room is one room of the list.
type room struct {
	Name string `json:"name"`
	Here int    `json:"here"` // users
}

func key(parts ...string) string { return "{" + hub + "}:" + strings.Join(parts, ":") }

// keep adds a line to its conversation.
func (s store) keep(ctx context.Context, l line) error {
	value, err := json.Marshal(l)
	if err != nil {
		return err
	}
	past := key("past", conversation(l.Room, l.From, l.To))
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.ZAdd(ctx, past, redis.Z{Score: float64(l.At.UnixMilli()), Member: value})
		p.ZRemRangeByRank(ctx, past, 0, -history-1)
		p.Expire(ctx, past, keepFor)
		if l.Room != "" {
			p.ZAdd(ctx, key("rooms"), redis.Z{Score: float64(l.At.UnixMilli()), Member: l.Room})
		}
		return nil
	})
	return err
}

// past returns the stored lines of a conversation, the oldest first.
func (s store) past(ctx context.Context, conversation string) ([]line, error) {
	values, err := s.rdb.ZRange(ctx, key("past", conversation), 0, -1).Result()
	if err != nil {
		return nil, err
	}
	lines := make([]line, 0, len(values))
	for _, v := range values {
		var l line
		if json.Unmarshal([]byte(v), &l) == nil { // else another program wrote it
			lines = append(lines, l)
		}
	}
	return lines, nil
}

// conversation returns the name of a conversation in a room, or between two users. Names of users
// and rooms contain no @.
func conversation(room, a, b string) string {
	if room != "" {
		return room
	}
	return "@" + min(a, b) + "@" + max(a, b)
}

// seen records that a socket is in a room, and returns whether that is new.
func (s store) seen(ctx context.Context, room, user, socket string) (news bool, err error) {
	now := time.Now()
	added, err := s.rdb.ZAdd(ctx, key("here", room), redis.Z{Score: float64(now.Add(present).UnixMilli()),
		Member: user + " " + socket}).
		Result()
	if err != nil || added == 0 {
		return false, err
	}
	return true, s.rdb.ZAdd(ctx, key("rooms"), redis.Z{Score: float64(now.UnixMilli()), Member: room}).Err()
}

// lost records that a socket is closed. Its session may soon return with another one, so the session
// stays.
func (s store) lost(ctx context.Context, room, user, socket string) error {
	return s.rdb.ZAddXX(ctx, key("here", room), redis.Z{Score: float64(time.Now().Add(leaving).UnixMilli()),
		Member: user + " " + socket}).
		Err()
}

// left records that a socket has left a room, and returns whether that is new.
func (s store) left(ctx context.Context, room, user, socket string) (news bool, err error) {
	n, err := s.rdb.ZRem(ctx, key("here", room), user+" "+socket).Result()
	return n > 0, err
}

// expire removes the users that count as gone, and returns whether it removed any.
func (s store) expire(ctx context.Context, room string) (news bool, err error) {
	n, err := s.rdb.ZRemRangeByScore(ctx, key("here", room), "-inf", strconv.FormatInt(time.Now().UnixMilli(), 10)).
		Result()
	return n > 0, err
}

// here returns the users in a room, by name.
func (s store) here(ctx context.Context, room string) ([]string, error) {
	members, err := s.rdb.ZRange(ctx, key("here", room), 0, -1).Result()
	users := make([]string, len(members))
	for i, m := range members {
		users[i], _, _ = strings.Cut(m, " ")
	}
	slices.Sort(users)
	return slices.Compact(users), err
}

// names returns the names of all rooms.
func (s store) names(ctx context.Context) ([]string, error) {
	names, err := s.rdb.ZRange(ctx, key("rooms"), 0, -1).Result()
	names = append(names, firstRooms...)
	slices.Sort(names)
	return slices.Compact(names), err
}

// list returns the rooms with their numbers of users: firstRooms, then the others by name. It
// deletes rooms that have been empty for long.
func (s store) list(ctx context.Context) ([]room, error) {
	old := strconv.FormatInt(time.Now().Add(-keepFor).UnixMilli(), 10)
	if err := s.rdb.ZRemRangeByScore(ctx, key("rooms"), "-inf", old).Err(); err != nil {
		return nil, err
	}
	names, err := s.names(ctx)
	if err != nil {
		return nil, err
	}
	rooms := make([]room, len(names))
	for i, name := range names {
		users, err := s.here(ctx, name)
		if err != nil {
			return nil, err
		}
		rooms[i] = room{name, len(users)}
	}
	slices.SortStableFunc(rooms, func(a, b room) int { return cmp.Compare(rank(a.Name), rank(b.Name)) })
	return rooms, nil
}

// listed returns list, and whether it must be sent: when it differs from the last one, and twice a
// minute.
func (s store) listed(ctx context.Context) (rooms []room, news bool, err error) {
	if rooms, err = s.list(ctx); err != nil {
		return nil, false, err
	}
	text, err := json.Marshal(rooms)
	if err != nil {
		return nil, false, err
	}
	before, err := s.rdb.Get(ctx, key("listed")).Result()
	switch {
	case err != nil && !errors.Is(err, redis.Nil):
		return nil, false, err
	case before == string(text):
		return rooms, false, nil
	}
	return rooms, true, s.rdb.Set(ctx, key("listed"), text, 30*time.Second).Err()
}

func rank(name string) int {
	if i := slices.Index(firstRooms, name); i >= 0 {
		return i
	}
	return len(firstRooms)
}

// mayOpen returns whether the room exists, or may be added.
func (s store) mayOpen(ctx context.Context, name string) (bool, error) {
	names, err := s.names(ctx)
	return slices.Contains(names, name) || len(names) < maxRooms, err
}

// allow records an action of a user, and returns whether it is within the limit.
func (s store) allow(ctx context.Context, what, user string, most int64) (bool, error) {
	counter := key("rate", what, user, strconv.FormatInt(time.Now().UnixNano()/int64(ratePeriod), 36))
	var n *redis.IntCmd
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		n = p.Incr(ctx, counter)
		p.Expire(ctx, counter, 2*ratePeriod)
		return nil
	})
	return err == nil && n.Val() <= most, err
}
