package relay

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways/internal/wait"
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

// server asks Redis about a stream.
type server struct {
	rdb     redis.UniversalClient
	key     string
	refused redisio.Patience // of all that is asked
}

// inspect queries the state of the stream.
func (srv *server) inspect(ctx context.Context) (state, error) {
	info, err := srv.rdb.XInfoStream(ctx, srv.key).Result()
	switch {
	case redisio.IsMissing(err):
		return state{counted: true}, nil
	case err != nil && redisio.IsPermanent(err): // XINFO may be forbidden
		return srv.ends(ctx, state{length: -1})
	case err != nil:
		return state{}, fmt.Errorf("relay: inspect %q: %w", srv.key, err)
	}
	s := state{length: info.Length, added: info.EntriesAdded, counted: info.MaxDeletedEntryID != ""}
	if info.FirstEntry.ID == "" && s.length > 0 {
		return srv.ends(ctx, s)
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
func (srv *server) ends(ctx context.Context, s state) (state, error) {
	pipe := srv.rdb.Pipeline()
	first, last := pipe.XRangeN(ctx, srv.key, "-", "+", 1), pipe.XRevRangeN(ctx, srv.key, "+", "-", 1)
	if _, err := pipe.Exec(ctx); err != nil {
		return s, fmt.Errorf("relay: inspect %q: %w", srv.key, err)
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

// insist retries try until it succeeds, fails permanently, or the context is done.
func (srv *server) insist(ctx context.Context, try func() error) error {
	again := times()
	for {
		err := try()
		if err == nil {
			srv.refused.Worked()
			return nil
		}
		if err = srv.refused.Look(err); redisio.IsPermanent(err) {
			return err
		}
		if !wait.For(ctx, again.NextBackOff()) {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}
