package redisio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestMain(m *testing.M) {
	os.Exit(redistest.Main(m, func() error { return goleak.Find() }))
}

// open opens a reader that is closed with the test. Its events and lost ids are recorded.
func open(t *testing.T, rdb redis.UniversalClient, cfg GroupConfig) (*GroupReader, *log) {
	t.Helper()
	l := &log{}
	cfg.OnEvent = l.add
	def(&cfg.Group, "g")
	def(&cfg.Block, 50*time.Millisecond)
	def(&cfg.DelayedEvery, -1)
	r, err := NewGroupReader(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.turn = new(turnOfOne) // tests that run beside each other are not one process
	if err := r.Open(ctx(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = r.Close(c) // the server may be gone by now
	})
	return r, l
}

// log records events.
type log struct {
	mu     sync.Mutex
	events []Event
}

func (l *log) add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// total sums the counts of events of a kind.
func (l *log) total(k EventKind) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.Kind == k {
			n += max(1, e.Count)
		}
	}
	return n
}

func (l *log) times(k EventKind) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.Kind == k {
			n++
		}
	}
	return n
}

func ctx(t testing.TB) context.Context {
	c, cancel := context.WithTimeout(context.Background(), redistest.Patience)
	t.Cleanup(cancel)
	return c
}

// add writes n entries with fields n=0, n=1, … and returns their ids.
func add(t testing.TB, rdb redis.UniversalClient, key string, n int) []string {
	t.Helper()
	pipe := rdb.Pipeline()
	cmds := make([]*redis.StringCmd, n)
	for i := range n {
		cmds[i] = pipe.XAdd(ctx(t), redistest.Entry(key, "n", fmt.Sprint(i)))
	}
	if _, err := pipe.Exec(ctx(t)); err != nil {
		t.Fatal(err)
	}
	ids := make([]string, n)
	for i, cmd := range cmds {
		ids[i] = cmd.Val()
	}
	return ids
}

// read reads until n entries came.
func read(t testing.TB, r interface {
	Read(context.Context, int, int64, *Batch) error
}, n int) []Entry {
	t.Helper()
	var out []Entry
	c, cancel := context.WithTimeout(context.Background(), redistest.Patience)
	defer cancel()
	for len(out) < n {
		var b Batch
		if err := r.Read(c, n-len(out), 0, &b); err != nil {
			t.Fatalf("read: %v, after %d of %d entries", err, len(out), n)
		}
		out = append(out, b.Entries...)
	}
	return out
}

// readNothing reads for d and fails if something comes.
func readNothing(t testing.TB, r *GroupReader, d time.Duration) {
	t.Helper()
	c, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var b Batch
	if err := r.Read(c, 10, 0, &b); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("read: %v with %v, want nothing to come", err, entryIDs(b.Entries))
	}
}

// pending returns the pending entries of a group by id.
func pending(t testing.TB, rdb redis.UniversalClient, key string) map[string]redis.XPendingExt {
	t.Helper()
	list, err := rdb.XPendingExt(ctx(t), &redis.XPendingExtArgs{Stream: key, Group: "g", Start: "-", End: "+", Count: 10_000}).
		Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	m := make(map[string]redis.XPendingExt)
	for _, p := range list {
		m[p.ID] = p
	}
	return m
}

func ids(entries []Entry) []string {
	out := make([]string, len(entries))
	for i := range entries {
		out[i] = entries[i].ID
	}
	return out
}
