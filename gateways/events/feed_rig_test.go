package events_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// feed returns a feed that is closed when the test ends, after its loops.
func feed(t testing.TB, rdb redis.UniversalClient, topic string, cfg events.FeedConfig) *events.Feed {
	t.Helper()
	f := events.NewFeed(rdb, topic, cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
		defer cancel()
		if err := f.Close(ctx); err != nil {
			t.Errorf("close the feed: %v", err)
		}
		if s := f.Stats(); s.Loops != 0 || s.Streams != 0 {
			t.Errorf("a closed feed: %+v", s)
		}
	})
	return f
}

// named returns a client that gives its connections a unique name.
func named(t testing.TB, s *rig.Stand) (rdb *redis.Client, connections func() (reading, all int)) {
	o := *s.RDB.Options()
	o.ClientName = rand.Text()
	rdb = redis.NewClient(&o)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb, func() (reading, all int) {
		for line := range strings.Lines(s.RDB.ClientList(context.Background()).Val()) {
			if strings.Contains(line, "name="+o.ClientName+" ") {
				all++
				if strings.Contains(line, "cmd=xread ") {
					reading++
				}
			}
		}
		return reading, all
	}
}

// add writes an event and returns its cursor.
func add(t testing.TB, s *rig.Stand, typ, key, data string) string {
	t.Helper()
	id, err := s.RDB.XAdd(t.Context(), redistest.Entry(events.Key(s.Topic), "data", data, "type", typ, "key", key)).
		Result()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// patient returns a context with a timeout, so that no loop of a test waits forever.
func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	t.Cleanup(cancel)
	return ctx
}

// read returns the next n elements of a loop as text, and the cursor of the last. An error that does
// not end the loop is its type.
func read[T any](t testing.TB, loop iter.Seq2[events.Event[T], error], n int) (got []string, cursor string) {
	t.Helper()
	if n == 0 {
		return nil, ""
	}
	for e, err := range loop {
		if err != nil && e.Cursor == "" {
			t.Fatalf("after %q: %v", got, err)
		}
		cursor = e.Cursor
		switch {
		case err != nil:
			got = append(got, fmt.Sprintf("%T", err))
		case e.Heartbeat:
			got = append(got, "beat")
		default:
			got = append(got, fmt.Sprint(e.Value))
		}
		if len(got) == n {
			return got, cursor
		}
	}
	t.Fatalf("the loop has ended after %q", got)
	return nil, ""
}
