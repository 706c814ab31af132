package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

const BenchDepth, BenchPipelines = 128, 4

func Second[T any](_ T, err error) error { return err }

// Log records events.
type Log struct {
	Mu     sync.Mutex
	Events []redisio.Event
}

func (l *Log) Add(e redisio.Event) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	l.Events = append(l.Events, e)
}

// Total sums the counts of events of a kind.
func (l *Log) Total(k redisio.EventKind) (n int) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	for _, e := range l.Events {
		if e.Kind == k {
			n += max(1, e.Count)
		}
	}
	return n
}

func (l *Log) Times(k redisio.EventKind) (n int) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	for _, e := range l.Events {
		if e.Kind == k {
			n++
		}
	}
	return n
}

func Ctx(t testing.TB) context.Context {
	c, cancel := context.WithTimeout(context.Background(), redistest.Patience)
	t.Cleanup(cancel)
	return c
}

// Add writes n entries with fields n=0, n=1, … and returns their ids.
func Add(t testing.TB, rdb redis.UniversalClient, key string, n int) []string {
	t.Helper()
	pipe := rdb.Pipeline()
	cmds := make([]*redis.StringCmd, n)
	for i := range n {
		cmds[i] = pipe.XAdd(Ctx(t), redistest.Entry(key, "n", fmt.Sprint(i)))
	}
	if _, err := pipe.Exec(Ctx(t)); err != nil {
		t.Fatal(err)
	}
	ids := make([]string, n)
	for i, cmd := range cmds {
		ids[i] = cmd.Val()
	}
	return ids
}

// Read reads until n entries have arrived.
func Read(t testing.TB, r interface {
	Read(context.Context, int, int64, *redisio.Batch) error
}, n int) []redisio.Entry {
	t.Helper()
	var out []redisio.Entry
	c, cancel := context.WithTimeout(context.Background(), redistest.Patience)
	defer cancel()
	for len(out) < n {
		var b redisio.Batch
		if err := r.Read(c, n-len(out), 0, &b); err != nil {
			t.Fatalf("read: %v, after %d of %d entries", err, len(out), n)
		}
		out = append(out, b.Entries...)
	}
	return out
}

// Pending returns the pending entries of a group by id.
func Pending(t testing.TB, rdb redis.UniversalClient, key string) map[string]redis.XPendingExt {
	t.Helper()
	list, err := rdb.XPendingExt(Ctx(t),
		&redis.XPendingExtArgs{Stream: key, Group: "g", Start: "-", End: "+", Count: 10_000}).
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

func IDs(entries []redisio.Entry) []string {
	out := make([]string, len(entries))
	for i := range entries {
		out[i] = entries[i].ID
	}
	return out
}

func Outgoing(n int) []redisio.Outgoing {
	out := make([]redisio.Outgoing, n)
	for i := range out {
		out[i].Fields = redisio.Fields{
			{Name: "n", Value: fmt.Append(nil, i)},
			{Name: "n", Value: []byte("again")},
			{Name: "a", Value: nil},
		}
	}
	return out
}

// ReadAll reads until a reader reaches its end.
func ReadAll(t testing.TB, r interface {
	Read(context.Context, int, int64, *redisio.Batch) error
}) (all []redisio.Entry) {
	t.Helper()
	for {
		var b redisio.Batch
		if err := r.Read(Ctx(t), 1000, 0, &b); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, b.Entries...)
	}
}
