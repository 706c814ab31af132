package relay_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// stand is a stream for one test.
type stand struct {
	rdb redis.UniversalClient
	key string
}

func newStand(t testing.TB) *stand {
	o := redistest.Shared(t).Options()
	o.ReadTimeout = redistest.Patience / 4 // a client that gives up on a busy machine repeats its writes
	rdb := redis.NewClient(o)
	t.Cleanup(func() { rdb.Close() })
	return &stand{rdb, redistest.Key(t)}
}

// decode makes entries of two fields: topics, with commas between, and text.
func decode(e *redisio.Entry) (string, []string, error) {
	topics, _ := e.Fields.Get("topics")
	text, ok := e.Fields.Get("text")
	if !ok {
		return "", nil, errors.New("no text")
	}
	return string(text), strings.Split(string(topics), ","), nil
}

func (s *stand) config() relay.Config[string] {
	return relay.Config[string]{Key: s.key, Decode: decode, Block: 20 * time.Millisecond}
}

// relay returns a relay that runs until the test ends.
func (s *stand) relay(t testing.TB, cfg relay.Config[string]) *relay.Relay[string] {
	t.Helper()
	r := relay.New(s.rdb, cfg)
	run := start(t, r)
	redistest.Soon(t, "the relay is live", func() bool { return run.Ready() == nil })
	return r
}

func start[T any](t testing.TB, r *relay.Relay[T]) *flow.Running {
	t.Helper()
	run, err := r.Graph().Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
		defer cancel()
		if _, err := run.Drain(ctx); err != nil {
			t.Errorf("drain: %v", err)
		}
		r.Close()
	})
	return run
}

// add writes an entry and returns its ID.
func (s *stand) add(t testing.TB, topics, text string) string {
	t.Helper()
	id, err := s.rdb.XAdd(context.Background(), redistest.Entry(s.key, "topics", topics, "text", text)).Result()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func listen(t testing.TB, r *relay.Relay[string], o relay.Options) *relay.Listener[string] {
	t.Helper()
	l, err := r.Listen(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// texts reads n items. A gap is fatal.
func texts(t testing.TB, l *relay.Listener[string], n int) (got []string) {
	t.Helper()
	for len(got) < n {
		b := next(t, l)
		if b.Gap != nil {
			t.Fatalf("a gap: %+v, after %q", *b.Gap, got)
		}
		for _, it := range b.Items {
			got = append(got, it.Value)
		}
	}
	return got
}

func next(t testing.TB, l *relay.Listener[string]) relay.Batch[string] {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	defer cancel()
	b, err := l.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
