package reader

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func openTail(t *testing.T, rdb redis.UniversalClient, cfg TailConfig) *Tail {
	t.Helper()
	cfg.Block, cfg.Wait = 50*time.Millisecond, redistest.Patience
	r, err := NewTail(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Open(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(context.Background()) })
	return r
}

func TestTail(t *testing.T) {
	s := redistest.Shared(t)
	rdb, key := s.Client(t), redistest.Key(t)
	all := rig.Add(t, rdb, key, 5)
	beginning := openTail(t, rdb, TailConfig{Key: key})
	end := openTail(t, rdb, TailConfig{Key: key, Start: redisio.StartEnd()})
	p := rig.NewProxy(t, s.Addr())
	id, _ := redisio.ParseID(all[2])
	cut := openTail(t, p.Client(t), TailConfig{Key: key, Start: redisio.StartID(id)})
	if got := rig.Read(t, beginning, 5); !slices.Equal(rig.IDs(got), all) || got[0].Deliveries != 0 {
		t.Fatalf("got %+v", got)
	}
	if got := rig.IDs(rig.Read(t, cut, 2)); !slices.Equal(got, all[3:]) {
		t.Fatalf("got %v", got)
	}
	p.LoseReplies("xread", 3)
	more := rig.Add(t, rdb, key, 4)
	for _, r := range []*Tail{beginning, end, cut} {
		if got := rig.IDs(rig.Read(t, r, 4)); !slices.Equal(got, more) {
			t.Fatalf("got %v, want %v", got, more)
		}
	}
	last, _ := redisio.ParseID(more[3])
	if p.Lost() == 0 || cut.Position() != last {
		t.Fatalf("lost %d, at %v", p.Lost(), cut.Position())
	}
	var none redisio.Batch
	if err := end.Poll(rig.Ctx(t), 1, 0, &none); err != nil || len(none.Entries) > 0 {
		t.Fatalf("nothing new: %v, %v", none.Entries, err)
	}
	at := openTail(t, rdb, TailConfig{Key: key, Start: redisio.StartTime(id.Time())})
	if got := rig.IDs(rig.Read(t, at, 1)); got[0] != all[0] && got[0] != all[2] && got[0] != all[1] {
		t.Fatalf("got %v", got)
	}
	c, cancel := context.WithTimeout(context.Background(), 80*time.Millisecond)
	defer cancel()
	var b redisio.Batch
	if err := end.Read(c, 1, 0, &b); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	for range 2 {
		if err := end.Close(rig.Ctx(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := end.Read(rig.Ctx(t), 1, 0, &b); !errors.Is(err, redisio.ErrClosed) {
		t.Fatal(err)
	}
	rdb.Set(rig.Ctx(t), key, "x", 0)
	var perm *redisio.PermanentError
	if err := beginning.Read(rig.Ctx(t), 1, 0, &b); !errors.As(err, &perm) {
		t.Fatal(err)
	}
}

func TestRange(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	all := rig.Add(t, rdb, key, 25)
	parse := func(s string) redisio.ID { id, _ := redisio.ParseID(s); return id }
	for _, c := range []struct {
		cfg  RangeConfig
		want []string
	}{
		{RangeConfig{}, all},
		{RangeConfig{From: parse(all[3]), To: parse(all[17])}, all[3:18]},
		{RangeConfig{To: parse(all[9])}, all[:10]},
		{RangeConfig{From: redisio.IDAt(time.Now().Add(time.Hour))}, nil},
	} {
		c.cfg.Key = key
		r, err := NewRange(rdb, c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Open(rig.Ctx(t)); err != nil {
			t.Fatal(err)
		}
		var got []string
		var b redisio.Batch
		for {
			err := r.Read(rig.Ctx(t), 10, 0, &b)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || len(b.Entries) == 0 || len(b.Entries) > 10 {
				t.Fatalf("%d entries, %v", len(b.Entries), err)
			}
			got = append(got, rig.IDs(b.Entries)...)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %v, want %v", c.cfg, got, c.want)
		}
		if err := r.Close(rig.Ctx(t)); err != nil {
			t.Fatal(err)
		}
	}
	var c *redisio.ConfigError
	if _, err := NewRange(rdb, RangeConfig{Key: key, From: redisio.ID{Ms: 5}, To: redisio.ID{Ms: 4}}); !errors.As(
		err,
		&c,
	) {
		t.Error(err)
	}
}

// A tail received nothing from a stream that was recreated with smaller IDs.
func TestTailOfRecreatedStream(t *testing.T) {
	t.Parallel()
	s := redistest.Shared(t)
	rdb, key := s.Client(t), redistest.Key(t)
	recreated := make(chan redisio.Event, 10)
	addAt := func(id string) {
		t.Helper()
		if err := rdb.XAdd(rig.Ctx(t),
			&redis.XAddArgs{Stream: key, ID: id, Values: []string{"n", "1"}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	addAt("100-0")
	r := openTail(t, rdb, TailConfig{Key: key, OnEvent: func(e redisio.Event) {
		if e.Kind == redisio.EventStreamRecreated {
			recreated <- e
		}
	}})
	rig.Read(t, r, 1)
	rdb.Del(rig.Ctx(t), key)
	addAt("5-0")
	addAt("6-0")
	if got := rig.IDs(rig.Read(t, r, 2)); !slices.Equal(got, []string{"5-0", "6-0"}) || len(recreated) != 1 {
		t.Fatalf("got %v, events %d", got, len(recreated))
	}
	addAt("7-0")
	if got := rig.IDs(rig.Read(t, r, 1)); got[0] != "7-0" || len(recreated) != 1 {
		t.Fatalf("got %v, events %d", got, len(recreated))
	}
	// A future time does not indicate another stream.
	future := openTail(
		t,
		rdb,
		TailConfig{
			Key:   key,
			Start: redisio.StartTime(time.UnixMilli(50)),
			OnEvent: func(e redisio.Event) {
				if e.Kind == redisio.EventStreamRecreated {
					t.Errorf("%+v", e)
				}
			},
		},
	)
	for range 3 * idleRounds {
		var b redisio.Batch
		if err := future.Poll(rig.Ctx(t), 10, 0, &b); err != nil || len(b.Entries) > 0 {
			t.Fatal(err, b.Entries)
		}
	}
}
