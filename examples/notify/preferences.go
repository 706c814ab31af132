package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// channels are the ways to a user, besides the inbox, which has every note. Notes for the digest
// wait for a quiet time, and then go out in one mail.
var channels = []string{"mail", "push", "webhook", digest}

const digest = "digest"

// Preferences are the channels that a user wants for each kind of note, and when it wants them.
type Preferences struct {
	Kinds map[string][]string `json:"kinds"`
	Quiet Quiet               `json:"quiet"`
}

var defaults = Preferences{Kinds: map[string][]string{
	"info":    {digest},
	"success": {"push"},
	"warning": {"mail", "push", "webhook"},
}}

// Quiet is the time of the day in which nothing is sent to a user. It waits until the end. The
// inbox has it at once. There are no quiet hours if From and To are equal.
type Quiet struct {
	From   int `json:"from"` // minutes since midnight, by the clock of the user
	To     int `json:"to"`
	Offset int `json:"offset"` // minutes that this clock is ahead of UTC; a real program stores the zone
}

const day = 24 * 60

// after returns at, or the end of the quiet hours if at is in them.
func (q Quiet) after(at time.Time) time.Time {
	local := at.UTC().Add(time.Duration(q.Offset) * time.Minute)
	gone, length := (local.Hour()*60+local.Minute()-q.From+day)%day, (q.To-q.From+day)%day
	if gone >= length {
		return at
	}
	return at.Truncate(time.Minute).Add(time.Duration(length-gone) * time.Minute)
}

func (p Preferences) wrong() string {
	for kind, wanted := range p.Kinds {
		if !slices.Contains(kinds, kind) {
			return "kinds are info, success and warning"
		}
		for i, c := range wanted {
			if !slices.Contains(channels, c) || slices.Contains(wanted[:i], c) {
				return "channels are mail, push, webhook and digest, each once"
			}
		}
	}
	if q := p.Quiet; min(q.From, q.To) < 0 || max(q.From, q.To) >= day || max(q.Offset, -q.Offset) >= day {
		return "quiet hours are minutes of a day, 0 to 1439"
	}
	return ""
}

// People knows the users and their preferences. Both expire when a user has not been here for long.
type People struct{ rdb redis.UniversalClient }

const peopleMost = 100

// Preferences returns what a user wants.
func (p People) Preferences(ctx context.Context, user string) (wanted Preferences, err error) {
	text, err := p.rdb.Get(ctx, key("preferences:"+user)).Bytes()
	if errors.Is(err, redis.Nil) {
		return defaults, nil
	}
	if err != nil {
		return wanted, err
	}
	err = json.Unmarshal(text, &wanted)
	return wanted, err
}

// Prefer sets what a user wants. It holds for all notes that are routed from now on.
func (p People) Prefer(ctx context.Context, user string, wanted Preferences) error {
	text, err := json.Marshal(wanted)
	if err != nil {
		return err
	}
	return p.rdb.Set(ctx, key("preferences:"+user), text, keptFor).Err()
}

// Seen remembers a user, so that notes for everyone reach it.
func (p People) Seen(ctx context.Context, users ...string) error {
	now := time.Now()
	scored := make([]redis.Z, len(users))
	for i, u := range users {
		scored[i] = redis.Z{Score: float64(now.UnixMilli()), Member: u}
	}
	pipe := p.rdb.Pipeline()
	pipe.ZAdd(ctx, key("people"), scored...)
	pipe.ZRemRangeByRank(ctx, key("people"), 0, -peopleMost-1)
	pipe.ZRemRangeByScore(ctx, key("people"), "-inf", strconv.FormatInt(now.Add(-keptFor).UnixMilli(), 10))
	_, err := pipe.Exec(ctx)
	return err
}

// Receivers returns the users that a note is for.
func (p People) Receivers(ctx context.Context, n Note) ([]string, error) {
	if n.To != everyone {
		return []string{n.To}, nil
	}
	return p.rdb.ZRange(ctx, key("people"), 0, -1).Result()
}
