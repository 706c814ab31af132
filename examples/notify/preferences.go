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

// Preferences are the channels that a user wants, for each kind of note.
type Preferences map[string][]string

var defaults = Preferences{
	"info":    {digest},
	"success": {"push"},
	"warning": {"mail", "push", "webhook"},
}

func (p Preferences) wrong() string {
	for kind, wanted := range p {
		if !slices.Contains(kinds, kind) {
			return "kinds are info, success and warning"
		}
		for i, c := range wanted {
			if !slices.Contains(channels, c) || slices.Contains(wanted[:i], c) {
				return "channels are mail, push, webhook and digest, each once"
			}
		}
	}
	return ""
}

// People knows the users and their preferences. Both expire when a user has not been here for long.
type People struct{ rdb redis.UniversalClient }

const peopleMost = 100

// Preferences returns what a user wants.
func (p People) Preferences(ctx context.Context, user string) (Preferences, error) {
	text, err := p.rdb.Get(ctx, key("preferences:"+user)).Bytes()
	if errors.Is(err, redis.Nil) {
		return defaults, nil
	}
	if err != nil {
		return nil, err
	}
	var wanted Preferences
	return wanted, json.Unmarshal(text, &wanted)
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
