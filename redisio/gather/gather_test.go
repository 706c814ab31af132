package gather_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/gather"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func newStore(t *testing.T, rdb redis.UniversalClient, cfg gather.Config) *gather.Store {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = redistest.Key(t)
	}
	s, err := gather.New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shared is a store on the shared server.
func shared(t *testing.T, cfg gather.Config) (*gather.Store, *redis.Client) {
	rdb := redistest.Shared(t).Client(t)
	return newStore(t, rdb, cfg), rdb
}

func open(t *testing.T, s *gather.Store, id string, terms gather.Terms) gather.Status {
	t.Helper()
	if terms.Within == 0 {
		terms.Within = time.Hour
	}
	st, err := s.Open(rig.Ctx(t), id, terms)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func put(t *testing.T, s *gather.Store, id string, part int, text string) gather.Receipt {
	t.Helper()
	ok := !strings.HasPrefix(text, "!")
	r, err := s.Put(rig.Ctx(t), id, part, ok, []byte(strings.TrimPrefix(text, "!")))
	if err != nil {
		t.Fatalf("put %d %q: %v", part, text, err)
	}
	return r
}

func take(t *testing.T, s *gather.Store, id string) *gather.Outcome {
	t.Helper()
	o, _, err := s.Take(rig.Ctx(t), id)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// elapse lets the time of a gather end now.
func elapse(t *testing.T, rdb *redis.Client, s *gather.Store, id string) {
	t.Helper()
	if err := rdb.HSet(rig.Ctx(t), s.Config().Key(id), "until", 1).Err(); err != nil {
		t.Fatal(err)
	}
}

// A gather closes as soon as its outcome is certain. Text that begins with ! is a failure.
func TestGatherOutcomes(t *testing.T) {
	s, rdb := shared(t, gather.Config{})
	for _, c := range []struct {
		name   string
		terms  gather.Terms
		puts   []string // part by part; "" never comes
		how    gather.How
		closes int // after so many puts
	}{
		{name: "all", terms: gather.Terms{Parts: 3}, puts: []string{"a", "b", "c"}, how: gather.Done, closes: 3},
		{name: "one", terms: gather.Terms{Parts: 1}, puts: []string{"a"}, how: gather.Done, closes: 1},
		{name: "a failure", terms: gather.Terms{Parts: 3}, puts: []string{"a", "!b", "c"}, how: gather.Failed, closes: 2},
		{name: "partial", terms: gather.Terms{Parts: 3, Partial: true}, puts: []string{"a", "!b", "c"}, how: gather.Failed, closes: 3},
		{name: "quorum", terms: gather.Terms{Parts: 3, Need: 2}, puts: []string{"a", "!b", "c"}, how: gather.Done, closes: 3},
		{name: "early quorum", terms: gather.Terms{Parts: 3, Need: 2}, puts: []string{"a", "b", "c"}, how: gather.Done, closes: 2},
		{name: "no quorum", terms: gather.Terms{Parts: 3, Need: 2}, puts: []string{"!a", "!b", "c"}, how: gather.Failed, closes: 2},
		{name: "all fail", terms: gather.Terms{Parts: 2, Partial: true}, puts: []string{"!a", "!b"}, how: gather.Failed, closes: 2},
		{name: "need above parts", terms: gather.Terms{Parts: 2, Need: 9}, puts: []string{"a", "b"}, how: gather.Done, closes: 2},
		{name: "empty results", terms: gather.Terms{Parts: 2}, puts: []string{"", ""}, how: gather.Done, closes: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			open(t, s, c.name, c.terms)
			for i, text := range c.puts {
				if o := take(t, s, c.name); (o != nil) != (i >= c.closes) {
					t.Fatalf("after %d results: %+v", i, o)
				}
				if i < c.closes {
					put(t, s, c.name, i, text)
					continue
				}
				if _, err := s.Put(rig.Ctx(t), c.name, i, true, nil); !errors.Is(err, gather.ErrOver) {
					t.Errorf("a late result: %v", err)
				}
			}
			o := take(t, s, c.name)
			if o == nil || o.How != c.how || o.Late != len(c.puts)-c.closes || o.Done+o.Failed != c.closes {
				t.Fatalf("%+v", o)
			}
			for i, text := range c.puts {
				want := gather.Part{}
				if i < c.closes {
					want = gather.Part{Came: true, OK: !strings.HasPrefix(text, "!"),
						Data: []byte(strings.TrimPrefix(text, "!"))}
				}
				if diff := cmp.Diff(want, o.Parts[i]); diff != "" {
					t.Errorf("part %d (-want +got):\n%s", i, diff)
				}
			}
			notes, err := rdb.XRange(rig.Ctx(t), s.Config().Notices(), "-", "+").Result()
			n := 0
			for _, e := range notes {
				if e.Values["id"] == c.name {
					n++
				}
			}
			if err != nil || n != 1 {
				t.Errorf("%d notices, %v", n, err)
			}
		})
	}
}

// A part that is delivered several times counts once, with its first result.
func TestGatherDuplicates(t *testing.T) {
	s, _ := shared(t, gather.Config{})
	open(t, s, "g", gather.Terms{Parts: 2})
	for i, want := range []gather.Receipt{gather.Counted, gather.Duplicate, gather.Duplicate} {
		if got := put(t, s, "g", 0, fmt.Sprint("result ", i)); got != want {
			t.Errorf("put %d: %v, want %v", i, got, want)
		}
	}
	if wanted, _, err := s.Begin(rig.Ctx(t), "g", 0); wanted || err != nil {
		t.Errorf("a part with its result: %v %v", wanted, err)
	}
	if wanted, left, err := s.Begin(rig.Ctx(t), "g", 1); !wanted || err != nil || left < 59*time.Minute {
		t.Errorf("a part without a result: %v %v %v", wanted, left, err)
	}
	put(t, s, "g", 1, "!failed")
	if o := take(t, s, "g"); o == nil || string(o.Parts[0].Data) != "result 0" || o.Done != 1 || o.Failed != 1 {
		t.Errorf("%+v", o)
	}
}

// Send appends each part once, whoever calls it and however often.
func TestGatherSendContinues(t *testing.T) {
	s, rdb := shared(t, gather.Config{})
	parts := [][]byte{[]byte("zero"), []byte("one"), []byte("two"), []byte("three")}
	open(t, s, "g", gather.Terms{Parts: 4})
	send := func(from, n, want int) {
		t.Helper()
		if sent, err := s.Send(rig.Ctx(t), "g", from, "", parts[from:from+n]...); sent != want || err != nil {
			t.Errorf("send %d from %d: %d sent, %v", n, from, sent, err)
		}
	}
	send(0, 2, 2)
	send(0, 2, 2) // its reply was lost
	send(0, 4, 2) // a process that begins again
	if st := open(t, s, "g", gather.Terms{Parts: 4}); st.Sent != 2 || st.Over {
		t.Errorf("opened again: %+v", st)
	}
	send(2, 2, 4)
	send(2, 2, 4)
	entries, err := rdb.XRange(rig.Ctx(t), s.Config().Parts(), "-", "+").Result()
	if err != nil || len(entries) != 4 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for i, e := range entries {
		id, part, ok := gather.ParsePartID(e.Values["id"].(string))
		if id != "g" || part != i || !ok || e.Values["data"] != string(parts[i]) {
			t.Errorf("entry %d: %v", i, e.Values)
		}
	}
}

func TestGatherQueueFull(t *testing.T) {
	s, _ := shared(t, gather.Config{MaxQueued: 3})
	open(t, s, "a", gather.Terms{Parts: 5})
	open(t, s, "b", gather.Terms{Parts: 1})
	five := [][]byte{{'0'}, {'1'}, {'2'}, {'3'}, {'4'}}
	if sent, err := s.Send(rig.Ctx(t), "a", 0, "", five...); sent != 5 || err != nil {
		t.Errorf("into an empty stream: %d %v", sent, err)
	}
	sent, err := s.Send(rig.Ctx(t), "b", 0, "", five[0])
	if sent != 0 || !errors.Is(err, gather.ErrFull) || !errors.Is(err, redisio.ErrBackpressure) {
		t.Errorf("into a full stream: %d %v", sent, err)
	}
}

func TestGatherHostileSizes(t *testing.T) {
	s, _ := shared(t, gather.Config{})
	for _, n := range []int{-1, 0, gather.MaxParts + 1} {
		_, err := s.Open(rig.Ctx(t), "g", gather.Terms{Parts: n, Within: time.Hour})
		if large := (*gather.TooLargeError)(nil); !errors.As(err, &large) {
			t.Errorf("%d parts: %v", n, err)
		}
	}
	open(t, s, "g", gather.Terms{Parts: 3, MaxBytes: 10, Partial: true})
	put(t, s, "g", 0, "12345678")
	if r := put(t, s, "g", 1, "123"); r != gather.Refused {
		t.Errorf("a result that does not fit: %v", r)
	}
	if r := put(t, s, "g", 1, "1"); r != gather.Duplicate {
		t.Errorf("a smaller one after it: %v", r)
	}
	for _, part := range []int{3, 1 << 40, -1} {
		if _, err := s.Put(rig.Ctx(t), "g", part, true, nil); err == nil {
			t.Errorf("a result of part %d was accepted", part)
		}
	}
	put(t, s, "g", 2, "12")
	o := take(t, s, "g")
	if o == nil || o.Done != 2 || o.Parts[1].OK || !strings.Contains(string(o.Parts[1].Data), "too large") {
		t.Errorf("%+v", o)
	}
	for _, id := range []string{"", "x", ".1", "a.", "a.b", "a.-1", "a.99999999999999999999"} {
		if _, _, ok := gather.ParsePartID(id); ok {
			t.Errorf("%q is a part", id)
		}
	}
}

func TestGatherUnknown(t *testing.T) {
	s, _ := shared(t, gather.Config{})
	_, err1 := s.Put(rig.Ctx(t), "g", 0, true, nil)
	_, _, err2 := s.Begin(rig.Ctx(t), "g", 0)
	_, err3 := s.Send(rig.Ctx(t), "g", 0, "", []byte("x"))
	_, _, err4 := s.Take(rig.Ctx(t), "g")
	err5 := s.Cancel(rig.Ctx(t), "g")
	for i, err := range []error{err1, err2, err3, err4, err5} {
		if !errors.Is(err, gather.ErrUnknown) {
			t.Errorf("call %d: %v", i+1, err)
		}
	}
	open(t, s, "h", gather.Terms{Parts: 1})
	open(t, s, "i", gather.Terms{Parts: 1})
	if err := s.Cancel(rig.Ctx(t), "i"); err != nil {
		t.Error(err)
	}
	states, err := s.States(rig.Ctx(t), "g", "h", "i")
	if diff := cmp.Diff([]gather.State{gather.Unknown, gather.Sending, gather.Over}, states); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

// A cancelled gather drops its parts. Cancelling a closed one changes nothing.
func TestGatherCancel(t *testing.T) {
	s, _ := shared(t, gather.Config{})
	open(t, s, "g", gather.Terms{Parts: 2})
	put(t, s, "g", 0, "a")
	if err := errors.Join(s.Cancel(rig.Ctx(t), "g"), s.Cancel(rig.Ctx(t), "g")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Begin(rig.Ctx(t), "g", 1); !errors.Is(err, gather.ErrOver) {
		t.Errorf("a part of a cancelled gather: %v", err)
	}
	if _, err := s.Send(rig.Ctx(t), "g", 0, "", []byte("x")); !errors.Is(err, gather.ErrOver) {
		t.Errorf("send to a cancelled gather: %v", err)
	}
	if o := take(t, s, "g"); o == nil || o.How != gather.Cancelled || o.Done != 1 || o.Late != 1 {
		t.Errorf("%+v", o)
	}
	open(t, s, "h", gather.Terms{Parts: 1})
	put(t, s, "h", 0, "a")
	if err := s.Cancel(rig.Ctx(t), "h"); err != nil {
		t.Fatal(err)
	}
	if o := take(t, s, "h"); o == nil || o.How != gather.Done {
		t.Errorf("%+v", o)
	}
}

// At the end of its time, a gather is closed with what has come. Nothing remains after the time to
// live.
func TestGatherExpires(t *testing.T) {
	s, rdb := shared(t, gather.Config{TTL: time.Hour, Keep: time.Millisecond})
	open(t, s, "empty", gather.Terms{Parts: 2, Within: 100 * time.Millisecond})
	redistest.Soon(t, "the time is over", func() bool { return take(t, s, "empty") != nil })
	open(t, s, "g", gather.Terms{Parts: 2})
	put(t, s, "g", 1, "b")
	elapse(t, rdb, s, "g")
	o := take(t, s, "g")
	if o == nil || o.How != gather.Expired || o.Done != 1 || o.Parts[0].Came || !o.Parts[1].OK {
		t.Fatalf("%+v", o)
	}
	redistest.Soon(t, "a taken gather is gone", func() bool {
		return rdb.Exists(rig.Ctx(t), s.Config().Key("g")).Val() == 0
	})
	never := newStore(t, rdb, gather.Config{TTL: time.Millisecond})
	open(t, never, "g", gather.Terms{Parts: 2, Within: time.Millisecond})
	redistest.Soon(t, "a gather that no process takes is gone", func() bool {
		return rdb.Exists(rig.Ctx(t), never.Config().Key("g")).Val() == 0
	})

	open(t, s, "all", gather.Terms{Parts: 1})
	if _, err := s.Send(rig.Ctx(t), "all", 0, "", []byte("x")); err != nil {
		t.Fatal(err)
	}
	put(t, s, "all", 0, "y")
	for _, key := range []string{s.Config().Key("all"), s.Config().Parts(), s.Config().Notices()} {
		if ttl := rdb.PTTL(rig.Ctx(t), key).Val(); ttl <= 0 || ttl > 50*time.Hour {
			t.Errorf("%s expires in %v", key, ttl)
		}
	}
}

func TestGatherMistakes(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{})
	defer rdb.Close()
	_, err1 := gather.New(nil, gather.Config{Name: "a}{b", TTL: -1, Keep: -1, MaxQueued: -1})
	_, err2 := gather.NewBarrier(rdb, gather.BarrierConfig{Expect: -1, TTL: -1})
	_, err3 := gather.NewEnd(rdb, gather.EndConfig{Producers: -1, TTL: -1})
	for i, want := range []int{4, 3, 3} {
		err := []error{err1, err2, err3}[i]
		mistake := (*redisio.ConfigError)(nil)
		if n := strings.Count(fmt.Sprint(err), "redisio: "); n < want || !errors.As(err, &mistake) {
			t.Errorf("%d mistakes, want %d: %v", n, want, err)
		}
	}
	s, rdb := shared(t, gather.Config{})
	if err := rdb.LPush(rig.Ctx(t), s.Config().Key("g"), "x").Err(); err != nil {
		t.Fatal(err)
	}
	_, err := s.Open(rig.Ctx(t), "g", gather.Terms{Parts: 1})
	if p := (*redisio.PermanentError)(nil); !errors.As(err, &p) {
		t.Errorf("a key of another type: %v", err)
	}
}

// All keys share a slot of a cluster, also with the end marks of a stream.
func TestGatherOnCluster(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, redistest.Args("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"))
	node := srv.Client(t)
	if err := node.ClusterAddSlotsRange(rig.Ctx(t), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "the cluster is up", func() bool { return node.Set(rig.Ctx(t), "up", "1", 0).Err() == nil })
	_, port, err := net.SplitHostPort(srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:" + port}})
	t.Cleanup(func() { _ = rdb.Close() })
	for _, name := range []string{"plain", "{tag}:x", "odd {x} y"} {
		s := newStore(t, rdb, gather.Config{Name: name})
		open(t, s, "g", gather.Terms{Parts: 1})
		if _, err := s.Send(rig.Ctx(t), "g", 0, "", []byte("x")); err != nil {
			t.Fatal(err)
		}
		put(t, s, "g", 0, "y")
		if o := take(t, s, "g"); o == nil || o.How != gather.Done {
			t.Errorf("%s: %+v", name, o)
		}
		if states, err := s.States(rig.Ctx(t), "g", "h"); err != nil || states[0] != gather.Over {
			t.Errorf("%s: %v %v", name, states, err)
		}
		b, err := gather.NewBarrier(rdb, gather.BarrierConfig{Name: name + ":phase", Expect: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Arrive(rig.Ctx(t), "x"); err != nil {
			t.Error(err)
		}
		if err := errors.Join(b.Wait(rig.Ctx(t)), b.Delete(rig.Ctx(t))); err != nil {
			t.Error(err)
		}
		e, err := gather.NewEnd(rdb, gather.EndConfig{Key: name + ":in"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Mark(rig.Ctx(t), "x"); err != nil {
			t.Error(err)
		}
		if at, err := e.Reached(rig.Ctx(t), "g"); !at || err != nil {
			t.Error(at, err)
		}
	}
}
