package eventstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
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

// The client itself repeats a command after its reply was lost, and then cannot connect. The
// outcome is unknown, although the last try was not sent.
func TestRepeatsOfTheClient(t *testing.T) {
	srv := redistest.Shared(t)
	proxy := redistest.StartProxy(t, srv.Addr())
	opt := srv.Options()
	opt.MaxRetries = 3
	var dialed atomic.Bool
	opt.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
		if dialed.Swap(true) {
			return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
		}
		return new(net.Dialer).DialContext(ctx, network, proxy.Addr())
	}
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	s := newStore(t, rdb, func(c *Config[happening]) { c.Patience = 20 * time.Millisecond })
	proxy.Cut(redistest.CutReply, "XADD", 1)
	if _, err := s.Append(rig.Ctx(t), "ann", None, opened{"Ann"}); !errors.Is(err, redisio.ErrUnknownOutcome) {
		t.Errorf("the event was written: %v", err)
	}
}

func newStoreLike(s *Store[happening], rdb redis.UniversalClient) *Store[happening] {
	return &Store[happening]{rdb: rdb, cfg: s.cfg}
}

// The same append is made again: at once, after its result was forgotten, and by another append with
// its ID.
func TestAppendID(t *testing.T) {
	ctx, rdb := rig.Ctx(t), redistest.Shared(t).Client(t)
	s := newStore(t, rdb, func(c *Config[happening]) { c.MaxBetween = -1 })
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
	longer := batch
	longer.Parts = []Part[happening]{batch.Parts[0], {"ann", first, []happening{withdrawn{3}, withdrawn{4}}}}
	if _, err := s.AppendAll(ctx, longer); !errors.Is(err, ErrAppendID) {
		t.Errorf("the ID of an append of fewer events: %v", err)
	}
	must(s.AppendAll(ctx, Batch[happening]{ID: "x", Parts: []Part[happening]{{"ann", Any, []happening{opened{}}}}}))(t)
	other := Batch[happening]{ID: "x", Parts: []Part[happening]{{"bob", Any, []happening{opened{}}}}}
	if _, err := s.AppendAll(ctx, other); !errors.Is(err, ErrAppendID) || !errors.Is(err, redisio.ErrNotWritten) {
		t.Errorf("an ID for two appends: %v", err)
	}
	found, ok, err := s.Appended(ctx, "x", "ann")
	if end, _, _ := s.Last(ctx, "ann"); !ok || !found.Repeated || !slices.Equal(found.Last, []redisio.ID{end}) {
		t.Errorf("the append: %v, %v, %v", found, ok, err)
	}
	if _, ok, err := s.Appended(ctx, "x", "bob"); ok || !errors.Is(err, ErrAppendID) {
		t.Errorf("an append to another aggregate: %v, %v", ok, err)
	}
	if _, ok, err := s.Appended(ctx, "y", "ann"); ok || err != nil {
		t.Errorf("an append that was not made: %v, %v", ok, err)
	}
	if ttl := rdb.PTTL(ctx, s.keysOf(0, "x")[1]).Val(); ttl <= 0 || ttl > 10*time.Minute {
		t.Errorf("its result is kept for %v", ttl)
	}
}
