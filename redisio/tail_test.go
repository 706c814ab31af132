package redisio

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func openTail(t *testing.T, rdb redis.UniversalClient, cfg TailConfig) *TailReader {
	t.Helper()
	cfg.Block = 50 * time.Millisecond
	r, err := NewTailReader(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Open(ctx(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(context.Background()) })
	return r
}

func TestTail(t *testing.T) {
	s := redistest.Shared(t)
	rdb, key := s.Client(t), redistest.Key(t)
	all := add(t, rdb, key, 5)
	beginning := openTail(t, rdb, TailConfig{Key: key})
	end := openTail(t, rdb, TailConfig{Key: key, Start: StartEnd()})
	p := newProxy(t, s.Addr())
	id, _ := ParseID(all[2])
	cut := openTail(t, p.client(t), TailConfig{Key: key, Start: StartID(id)})
	if got := read(t, beginning, 5); !slices.Equal(ids(got), all) || got[0].Deliveries != 0 {
		t.Fatalf("got %+v", got)
	}
	if got := ids(read(t, cut, 2)); !slices.Equal(got, all[3:]) {
		t.Fatalf("got %v", got)
	}
	p.loseReplies("xread", 3)
	more := add(t, rdb, key, 4)
	for _, r := range []*TailReader{beginning, end, cut} {
		if got := ids(read(t, r, 4)); !slices.Equal(got, more) {
			t.Fatalf("got %v, want %v", got, more)
		}
	}
	last, _ := ParseID(more[3])
	if p.lost() == 0 || cut.Position() != last {
		t.Fatalf("lost %d, at %v", p.lost(), cut.Position())
	}
	at := openTail(t, rdb, TailConfig{Key: key, Start: StartTime(id.Time())})
	if got := ids(read(t, at, 1)); got[0] != all[0] && got[0] != all[2] && got[0] != all[1] {
		t.Fatalf("got %v", got)
	}
	c, cancel := context.WithTimeout(context.Background(), 80*time.Millisecond)
	defer cancel()
	var b Batch
	if err := end.Read(c, 1, 0, &b); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	for range 2 {
		if err := end.Close(ctx(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := end.Read(ctx(t), 1, 0, &b); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	rdb.Set(ctx(t), key, "x", 0)
	var perm *PermanentError
	if err := beginning.Read(ctx(t), 1, 0, &b); !errors.As(err, &perm) {
		t.Fatal(err)
	}
}

func TestRange(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	all := add(t, rdb, key, 25)
	parse := func(s string) ID { id, _ := ParseID(s); return id }
	for _, c := range []struct {
		cfg  RangeConfig
		want []string
	}{
		{RangeConfig{}, all},
		{RangeConfig{From: parse(all[3]), To: parse(all[17])}, all[3:18]},
		{RangeConfig{To: parse(all[9])}, all[:10]},
		{RangeConfig{From: IDAt(time.Now().Add(time.Hour))}, nil},
	} {
		c.cfg.Key = key
		r, err := NewRangeReader(rdb, c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Open(ctx(t)); err != nil {
			t.Fatal(err)
		}
		var got []string
		var b Batch
		for {
			err := r.Read(ctx(t), 10, 0, &b)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || len(b.Entries) == 0 || len(b.Entries) > 10 {
				t.Fatalf("%d entries, %v", len(b.Entries), err)
			}
			got = append(got, ids(b.Entries)...)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %v, want %v", c.cfg, got, c.want)
		}
		if err := r.Close(ctx(t)); err != nil {
			t.Fatal(err)
		}
	}
	var c *ConfigError
	if _, err := NewRangeReader(rdb, RangeConfig{Key: key, From: ID{Ms: 5}, To: ID{Ms: 4}}); !errors.As(err, &c) {
		t.Error(err)
	}
}

// A stream that was made again with smaller IDs went quiet.
func TestTailOfRecreatedStream(t *testing.T) {
	t.Parallel()
	s := redistest.Shared(t)
	rdb, key := s.Client(t), redistest.Key(t)
	recreated := make(chan Event, 10)
	addAt := func(id string) {
		t.Helper()
		if err := rdb.XAdd(ctx(t), &redis.XAddArgs{Stream: key, ID: id, Values: []string{"n", "1"}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	addAt("100-0")
	r := openTail(t, rdb, TailConfig{Key: key, OnEvent: func(e Event) {
		if e.Kind == EventStreamRecreated {
			recreated <- e
		}
	}})
	read(t, r, 1)
	rdb.Del(ctx(t), key)
	addAt("5-0")
	addAt("6-0")
	if got := ids(read(t, r, 2)); !slices.Equal(got, []string{"5-0", "6-0"}) || len(recreated) != 1 {
		t.Fatalf("got %v, events %d", got, len(recreated))
	}
	addAt("7-0")
	if got := ids(read(t, r, 1)); got[0] != "7-0" || len(recreated) != 1 {
		t.Fatalf("got %v, events %d", got, len(recreated))
	}
	// A time to come is no position of another stream.
	future := openTail(
		t,
		rdb,
		TailConfig{Key: key, Start: StartTime(time.UnixMilli(50)), OnEvent: func(e Event) { t.Errorf("%+v", e) }},
	)
	for range 3 * idleRounds {
		var b Batch
		if err := future.fill(ctx(t), 10, 0, &b); err != nil || len(b.Entries) > 0 {
			t.Fatal(err, b.Entries)
		}
	}
}
