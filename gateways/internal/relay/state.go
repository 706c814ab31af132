package relay

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
)

// state is the server's state of a stream.
type state struct {
	first   redisio.ID // zero if there are no entries
	top     redisio.ID // the last assigned ID; its entry may be gone
	length  int64
	added   int64      // entries ever added
	deleted redisio.ID // the largest ID deleted by XDEL
	counted bool       // the server reports added and deleted
}

// trimmed reports whether entries after id may have been removed.
func (s state) trimmed(id redisio.ID) bool {
	switch {
	case s.counted && s.added == s.length:
		return false
	case s.first.IsZero():
		return s.top.Compare(id) > 0
	case !s.counted && id.IsZero():
		return false // looks the same as a new stream
	}
	return s.first.Compare(id.Next()) > 0
}

// inspect queries the state of the stream.
func (r *Relay[T]) inspect(ctx context.Context) (state, error) {
	info, err := r.rdb.XInfoStream(ctx, r.cfg.Key).Result()
	switch {
	case redis.HasErrorPrefix(err, "no such key"):
		return state{counted: true}, nil
	case err != nil && redisio.IsPermanent(err): // XINFO may be forbidden
		return r.ends(ctx, state{length: -1})
	case err != nil:
		return state{}, fmt.Errorf("relay: inspect %q: %w", r.cfg.Key, err)
	}
	s := state{length: info.Length, added: info.EntriesAdded, counted: info.MaxDeletedEntryID != ""}
	if info.FirstEntry.ID == "" && s.length > 0 {
		return r.ends(ctx, s)
	}
	for _, p := range []struct {
		id   *redisio.ID
		text string
	}{{&s.first, info.FirstEntry.ID}, {&s.top, info.LastGeneratedID}, {&s.deleted, info.MaxDeletedEntryID}} {
		if p.text == "" {
			continue
		}
		if *p.id, err = redisio.ParseID(p.text); err != nil {
			return s, err
		}
	}
	return s, nil
}

// ends completes the state by reading the first and the last entry.
func (r *Relay[T]) ends(ctx context.Context, s state) (state, error) {
	pipe := r.rdb.Pipeline()
	first, last := pipe.XRangeN(ctx, r.cfg.Key, "-", "+", 1), pipe.XRevRangeN(ctx, r.cfg.Key, "+", "-", 1)
	if _, err := pipe.Exec(ctx); err != nil {
		return s, fmt.Errorf("relay: inspect %q: %w", r.cfg.Key, err)
	}
	for id, found := range map[*redisio.ID][]redis.XMessage{&s.first: first.Val(), &s.top: last.Val()} {
		if len(found) == 0 {
			continue
		}
		var err error
		if *id, err = redisio.ParseID(found[0].ID); err != nil {
			return s, err
		}
	}
	return s, nil
}
