package eventstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestAppend(t *testing.T) {
	ctx, s := rig.Ctx(t), newStore(t, redistest.Shared(t).Client(t))
	first := must(s.Append(ctx, "ann", None, opened{"Ann"}, deposited{10}))(t)
	second := must(s.Append(ctx, "ann", first, withdrawn{3}))(t)
	third := must(s.Append(ctx, "ann", Any, deposited{1}))(t)
	must(s.Append(ctx, "bob", Any, opened{"Bob"}))(t)
	if first.Compare(second) >= 0 || second.Compare(third) >= 0 {
		t.Errorf("IDs %v, %v, %v do not grow", first, second, third)
	}
	var got []string
	for e, err := range s.Events(ctx, "ann", 1) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Aggregate != "ann" || e.Time().IsZero() || e.AppendID() == "" || e.AppendID() == e.MessageID {
			t.Errorf("event %+v", e)
		}
		got = append(got, fmt.Sprint(e.Type, e.Value))
	}
	if want := []string{"deposited{10}", "withdrawn{3}", "deposited{1}"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if last, n, err := s.Last(ctx, "ann"); last != third || n != 4 || err != nil {
		t.Errorf("last %v of %d, %v", last, n, err)
	}
	if last, n, err := s.Last(ctx, "nobody"); last != None || n != 0 || err != nil {
		t.Errorf("of no aggregate: last %v of %d, %v", last, n, err)
	}
	for range s.Events(ctx, "nobody", 0) {
		t.Error("an event of no aggregate")
	}
}

func TestConflict(t *testing.T) {
	ctx := rig.Ctx(t)
	s := newStore(t, redistest.Shared(t).Client(t), func(c *Config[happening]) { c.MaxBetween = 2 })
	first := must(s.Append(ctx, "ann", None, opened{"Ann"}))(t)
	must(s.Append(ctx, "ann", first, deposited{1}, deposited{2}))(t)
	last := must(s.Append(ctx, "ann", Any, deposited{3}))(t)
	for name, c := range map[string]struct {
		aggregate string
		expected  redisio.ID
		last      redisio.ID
		between   string
		total     int
	}{
		"behind":          {"ann", first, last, "[{1} {2}]", 3},
		"expects none":    {"ann", None, last, "[{Ann} {1}]", 4},
		"unknown event":   {"ann", redisio.ID{Ms: 7, Seq: 7}, last, "[]", 0},
		"no aggregate":    {"bob", first, None, "[]", 0},
		"in the future":   {"ann", last.Next(), last, "[]", 0},
		"of another time": {"ann", first.Prev(), last, "[]", 0},
	} {
		_, err := s.Append(ctx, c.aggregate, c.expected, withdrawn{1})
		var conflict *Conflict[happening]
		if !errors.As(err, &conflict) || !errors.Is(err, ErrConflict) || !errors.Is(err, redisio.ErrNotWritten) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var between []any
		for _, e := range conflict.Between {
			between = append(between, e.Value)
		}
		if conflict.Last != c.last || conflict.Total != c.total || fmt.Sprint(between) != c.between {
			t.Errorf("%s: %+v", name, conflict)
		}
	}
	if _, n, _ := s.Last(ctx, "ann"); n != 4 {
		t.Errorf("%d events, want 4: a conflict has written", n)
	}
}

// Many callers withdraw from one account. It never has less than nothing, and no event is lost.
func TestConcurrentAppenders(t *testing.T) {
	s := newStore(t, redistest.Shared(t).Client(t))
	accounts := newAccounts(t, s, SnapshotConfig[account]{Name: "account", Every: 7})
	ctx := rig.Ctx(t)
	must(s.Append(ctx, "ann", None, deposited{100}))(t)
	poor := errors.New("not enough")
	var took atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 20 {
				_, err := accounts.Update(ctx, "ann", func(l Loaded[account]) ([]happening, error) {
					if l.State.Balance < 3 {
						return nil, poor
					}
					return []happening{withdrawn{3}}, nil
				})
				switch {
				case err == nil:
					took.Add(3)
				case !errors.Is(err, poor):
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	l := must(accounts.Load(ctx, "ann"))(t)
	if took.Load() != 99 || l.State.Balance != 1 || l.Events != 34 || l.State.Seen != 34 {
		t.Errorf("%d were taken, state %+v", took.Load(), l)
	}
	balance := 0
	for e, err := range s.Events(ctx, "ann", 0) { // the model: a plain loop
		if err != nil {
			t.Fatal(err)
		}
		balance = applied(account{Balance: balance}, e).Balance
		if balance < 0 {
			t.Fatalf("the balance is %d after %v", balance, e.ID)
		}
	}
	if balance != 1 {
		t.Errorf("the events make %d", balance)
	}
}

// A batch is written whole or not at all, also if several callers write to crossing aggregates.
func TestAppendAll(t *testing.T) {
	ctx := rig.Ctx(t)
	s := newStore(t, redistest.Shared(t).Client(t), func(c *Config[happening]) { c.Partitions = 8 })
	name := func(i int) string { return fmt.Sprintf("{bank}%d", i%4) }
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 25 {
				err := RetryConflicts(ctx, 1000, func() error {
					from, to := name(w+i), name(w+i+1+i%3)
					last, _, err := s.Last(ctx, from)
					if err != nil {
						return err
					}
					_, err = s.AppendAll(ctx, Batch[happening]{
						Headers: []redisio.Header{{Name: "by", Value: fmt.Sprint(w)}},
						Parts: []Part[happening]{
							{from, last, []happening{withdrawn{1}}}, {to, Any, []happening{deposited{1}}},
						}})
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	accounts, sum, seen := newAccounts(t, s, SnapshotConfig[account]{}), 0, 0
	for i := range 4 {
		l := must(accounts.Load(ctx, name(i)))(t)
		sum, seen = sum+l.State.Balance, seen+l.State.Seen
	}
	if sum != 0 || seen != 400 {
		t.Errorf("the sum is %d after %d events", sum, seen)
	}
	log := must(s.rdb.XRange(ctx, s.Log(s.Partition("{bank}")), "-", "+").Result())(t)
	if len(log) != 401 || log[0].ID != "0-1" || log[0].Values["partitions"] != "8" {
		t.Errorf("the log has %d entries, the first is %+v", len(log), log[0])
	}
	if log[1].Values["h:by"] == nil {
		t.Errorf("no header in %+v", log[1])
	}
}

// A reply is lost in every possible way; the append is written once, and its caller learns the ID.
func TestLostReplies(t *testing.T) {
	srv := redistest.Shared(t)
	proxy := redistest.StartProxy(t, srv.Addr())
	opt := srv.Options()
	opt.Addr, opt.MaxRetries = proxy.Addr(), -1
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	ctx := rig.Ctx(t)
	s := newStore(t, rdb, func(c *Config[happening]) { c.Patience = 20 * time.Second })
	last := None
	for _, how := range []redistest.Cut{redistest.CutRequest, redistest.CutHalfRequest, redistest.CutReply,
		redistest.CutHalfReply} {
		for _, expected := range []redisio.ID{last, Any} {
			if expected != Any {
				expected = last
			}
			proxy.Cut(how, "XADD", 2)
			last = must(s.Append(ctx, "ann", expected, deposited{1}, deposited{2}))(t)
		}
	}
	got, n, err := newStoreLike(s, srv.Client(t)).Last(ctx, "ann")
	if got != last || n != 16 || err != nil {
		t.Errorf("%d events, want 16; last %v, want %v; %v", n, got, last, err)
	}
	proxy.CutRandomly(1, 0.2, redistest.CutRequest, redistest.CutReply, redistest.CutHalfReply)
	for range 40 {
		last = must(s.Append(ctx, "bob", Any, deposited{1}))(t)
	}
	proxy.CutRandomly(1, 0)
	if got, n, err := s.Last(ctx, "bob"); got != last || n != 40 || err != nil {
		t.Errorf("%d events, want 40; last %v, want %v; %v", n, got, last, err)
	}
	proxy.SetDown(true)
	s.cfg.Patience = -1
	if _, err := s.Append(ctx, "bob", Any, deposited{1}); !errors.Is(err, redisio.ErrNotWritten) &&
		!errors.Is(err, redisio.ErrUnknownOutcome) {
		t.Errorf("without a server: %v", err)
	}
}

func newStoreLike(s *Store[happening], rdb redis.UniversalClient) *Store[happening] {
	return &Store[happening]{rdb: rdb, cfg: s.cfg}
}

// The same append is made again: at once, after its result was forgotten, and by another append with
// its ID.
func TestAppendID(t *testing.T) {
	ctx, rdb := rig.Ctx(t), redistest.Shared(t).Client(t)
	s := newStore(t, rdb)
	first := must(s.Append(ctx, "ann", None, opened{"Ann"}))(t)
	batch := Batch[happening]{ID: "order/7", Parts: []Part[happening]{
		{"bob", Any, []happening{deposited{1}, deposited{2}}}, {"ann", first, []happening{withdrawn{3}}}}}
	r := must(s.AppendAll(ctx, batch))(t)
	if r.Repeated || len(r.Last) != 2 {
		t.Errorf("the first: %+v", r)
	}
	must(s.Append(ctx, "bob", Any, deposited{4}))(t)
	for _, when := range []string{"remembered", "forgotten"} {
		again := must(s.AppendAll(ctx, batch))(t)
		if !again.Repeated || !slices.Equal(again.Last, r.Last) {
			t.Errorf("%s: %+v, want %+v", when, again, r)
		}
		if err := rdb.Del(ctx, s.keysOf(0, batch.ID)[1]).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if _, n, _ := s.Last(ctx, "bob"); n != 3 {
		t.Errorf("%d events of bob, want 3", n)
	}
	must(s.AppendAll(ctx, Batch[happening]{ID: "x", Parts: []Part[happening]{{"ann", Any, []happening{opened{}}}}}))(t)
	other := Batch[happening]{ID: "x", Parts: []Part[happening]{{"bob", Any, []happening{opened{}}}}}
	if _, err := s.AppendAll(ctx, other); !errors.Is(err, ErrAppendID) || !errors.Is(err, redisio.ErrNotWritten) {
		t.Errorf("an ID for two appends: %v", err)
	}
	if ttl := rdb.PTTL(ctx, s.keysOf(0, "x")[1]).Val(); ttl <= 0 || ttl > 10*time.Minute {
		t.Errorf("its result is kept for %v", ttl)
	}
}

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
	two := Batch[happening]{Parts: []Part[happening]{{"a", Any, []happening{opened{}}}, {"a", Any, []happening{opened{}}}}}
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
	if err := rdb.ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	must(s.Append(ctx, "ann", first, deposited{1}, deposited{2}))(t)
}
