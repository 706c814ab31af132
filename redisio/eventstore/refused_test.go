package eventstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestForeignKeys(t *testing.T) {
	ctx, rdb := rig.Ctx(t), redistest.Shared(t).Client(t)
	do := func(args ...any) func(*Store[happening]) error {
		return func(s *Store[happening]) error {
			args := slices.Clone(args)
			switch args[1] {
			case "log":
				args[1] = s.Log(0)
			case "index":
				args[1] = s.index("ann")
			}
			return rdb.Do(ctx, args...).Err()
		}
	}
	for name, spoil := range map[string][]func(*Store[happening]) error{
		"a log that is a string":      {do("set", "log", "x")},
		"a stream of another program": {do("xadd", "log", "*", "a", "b")},
		"a stream that was emptied":   {do("xadd", "log", "5-5", "a", "b"), do("xdel", "log", "5-5")},
		"an index that is a set":      {do("sadd", "index", "x")},
		"an index without a log":      {do("rpush", "index", "1-1")},
		"an index of nonsense":        {do("rpush", "index", "x")},
		"a trimmed log": {func(s *Store[happening]) error {
			_, err := s.Append(ctx, "ann", Any, opened{})
			return err
		}, do("xtrim", "log", "maxlen", "1")},
	} {
		s := newStore(t, rdb)
		for _, f := range spoil {
			if err := f(s); err != nil {
				t.Fatal(name, err)
			}
		}
		_, err := s.Append(ctx, "ann", Any, deposited{1})
		var foreign *ForeignError
		if !errors.As(err, &foreign) || !errors.Is(err, ErrForeign) || !errors.Is(err, redisio.ErrNotWritten) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(err.Error()) > 250 || !strings.Contains(err.Error(), s.cfg.Name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := newStore(t, rdb, func(c *Config[happening]) { c.Partitions = 4 })
	if err := s.Open(ctx); err != nil {
		t.Fatal(err)
	}
	s.cfg.Partitions = 1
	var parts *PartitionsError
	if _, err := s.Append(ctx, "ann", Any, opened{}); !errors.As(err, &parts) || parts.Have != 4 || parts.Want != 1 {
		t.Errorf("another number of partitions: %v", err)
	}
	// A group may be created before the first event.
	s = newStore(t, rdb)
	rig.Grouped(t, rdb, s.Log(0), "g")
	must(s.Append(ctx, "ann", None, opened{}))(t)
}

func TestBadInput(t *testing.T) {
	ctx, rdb := rig.Ctx(t), redistest.Shared(t).Client(t)
	s := newStore(t, rdb, func(c *Config[happening]) {
		c.MaxEvent, c.MaxEvents, c.MaxBytes, c.Partitions = 500, 3, 1000, 2
	})
	long := strings.Repeat("x", 400)
	var config *redisio.ConfigError
	for name, c := range map[string]struct {
		aggregate string
		events    []happening
		want      any
	}{
		"no aggregate":    {"", []happening{opened{}}, &config},
		"no events":       {"ann", nil, &config},
		"a long name":     {strings.Repeat("x", 2000), []happening{opened{}}, ErrTooLarge},
		"a large event":   {"ann", []happening{opened{long + long}}, ErrTooLarge},
		"many bytes":      {"ann", []happening{opened{long}, opened{long}, opened{long}}, ErrTooLarge},
		"many events":     {"ann", []happening{opened{}, opened{}, opened{}, opened{}}, ErrTooLarge},
		"not a number":    {"ann", []happening{measured{math.NaN()}}, nil},
		"infinite":        {"ann", []happening{measured{math.Inf(1)}}, nil},
		"an unknown kind": {"ann", []happening{unknown{}}, ErrKind},
		"nil":             {"ann", []happening{nil}, ErrKind},
	} {
		_, err := s.Append(ctx, c.aggregate, Any, c.events...)
		if !errors.Is(err, redisio.ErrNotWritten) {
			t.Errorf("%s: %v", name, err)
		}
		switch want := c.want.(type) {
		case error:
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		case **redisio.ConfigError:
			if !errors.As(err, want) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	two := Batch[happening]{
		Parts: []Part[happening]{{"a", Any, []happening{opened{}}}, {"a", Any, []happening{opened{}}}},
	}
	if _, err := s.AppendAll(ctx, two); !errors.As(err, &config) {
		t.Errorf("an aggregate twice: %v", err)
	}
	for i := 0; s.Partition(two.Parts[1].Aggregate) == s.Partition("a"); i++ {
		two.Parts[1].Aggregate = fmt.Sprint("b", i)
	}
	if _, err := s.AppendAll(ctx, two); !errors.As(err, &config) {
		t.Errorf("aggregates of two partitions: %v", err)
	}
	if _, err := s.AppendAll(ctx, Batch[happening]{}); !errors.As(err, &config) {
		t.Errorf("an empty batch: %v", err)
	}
	if n := rdb.Exists(ctx, s.Logs()...).Val(); n != 0 {
		t.Errorf("%d logs were written", n)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Append(ended, "ann", Any, opened{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context: %v", err)
	}
	if _, err := New[happening](nil, Config[happening]{Partitions: -1, MaxEvents: 5000, Remember: 1}); err == nil ||
		strings.Count(err.Error(), "\n") < 4 {
		t.Errorf("%v", err)
	}
	bad := Kinds(Kind[opened, happening]("a"), Kind[opened, happening]("a"), Kind[int, happening](""))
	if _, err := New(rdb, Config[happening]{Name: "x", Format: bad}); !errors.As(err, &config) {
		t.Errorf("wrong kinds: %v", err)
	}
}

type unknown struct{}

func (unknown) happens() {}

func TestOpen(t *testing.T) {
	ctx := rig.Ctx(t)
	s := newStore(t, redistest.Shared(t).Client(t), func(c *Config[happening]) { c.Partitions = 3 })
	for range 2 {
		if err := s.Open(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.rdb.Exists(ctx, s.Logs()...).Val(); n != 3 {
		t.Errorf("%d logs were marked, want 3", n)
	}
	evicting := redistest.Start(t, redistest.Args("--maxmemory-policy", "allkeys-lru"))
	var e *EvictableError
	if err := newStore(t, evicting.Client(t)).Open(ctx); !errors.As(err, &e) || e.Policy != "allkeys-lru" {
		t.Errorf("on a server that evicts: %v", err)
	}
}

// A server without memory writes nothing of an append, and takes it once there is room.
func TestFullServer(t *testing.T) {
	srv := redistest.Start(t)
	ctx, rdb := rig.Ctx(t), srv.Client(t)
	s := newStore(t, rdb, func(c *Config[happening]) { c.Patience = -1 })
	first := must(s.Append(ctx, "ann", None, opened{"Ann"}))(t)
	if err := rdb.ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	_, err := s.Append(ctx, "ann", first, deposited{1}, deposited{2})
	if !errors.Is(err, redisio.ErrNotWritten) || !redisio.IsFull(err) {
		t.Errorf("on a full server: %v", err)
	}
	if last, n, _ := s.Last(ctx, "ann"); last != first || n != 1 {
		t.Errorf("%d events, the last %v", n, last)
	}
	s.cfg.Patience = time.Hour
	failed := 0
	accounts := newAccounts(t, s, SnapshotConfig[account]{Name: "account", Every: 1,
		OnError: func(string, error) { failed++ }})
	if l := must(accounts.Load(ctx, "ann"))(t); l.Events != 1 || failed != 1 { // it does not wait for the snapshot
		t.Errorf("%+v, %d snapshots failed", l, failed)
	}
	if err := rdb.ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	must(s.Append(ctx, "ann", first, deposited{1}, deposited{2}))(t)
}
