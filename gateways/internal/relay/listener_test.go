package relay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// slow delivers more to a listener than its queue holds, without a call of Next. It returns the
// written entries.
func slow(t *testing.T, o relay.Options) (*relay.Relay[string], *relay.Listener[string], []string) {
	s := newStand(t)
	cfg := s.config()
	cfg.Queue, cfg.Page = 8, 4
	r := s.relay(t, cfg)
	o.Topics = []string{"a"}
	l := listen(t, r, o)
	watch := listen(t, r, relay.Options{All: true})
	var all []string
	for i := range 50 {
		topic := "a"
		if i%2 == 1 {
			topic = "b"
		} else {
			all = append(all, fmt.Sprint(i))
		}
		s.add(t, topic, fmt.Sprint(i))
		texts(t, watch, 1)
	}
	return r, l, all
}

func TestPauseReadsOnFromHistory(t *testing.T) {
	r, l, want := slow(t, relay.Options{})
	if diff := cmp.Diff(want, texts(t, l, len(want))); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
	if c := r.Counts(); c.Gaps+c.Dropped != 0 {
		t.Errorf("%+v", c)
	}
}

func TestDropOldest(t *testing.T) {
	r, l, want := slow(t, relay.Options{Overflow: relay.DropOldest})
	b := next(t, l)
	if b.Gap == nil || b.Gap.Missed != len(want)-8 {
		t.Fatalf("gap %+v", b.Gap)
	}
	if diff := cmp.Diff(want[len(want)-8:], values(b)); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
	if c := r.Counts(); c.Gaps != 1 || c.Dropped != int64(len(want)-8) {
		t.Errorf("%+v", c)
	}
}

func TestCloseTooSlow(t *testing.T) {
	r, l, _ := slow(t, relay.Options{Overflow: relay.Close})
	if _, err := l.Next(t.Context()); !errors.Is(err, relay.ErrTooSlow) {
		t.Errorf("got %v", err)
	}
	if c := r.Counts(); c.Listeners != 1 {
		t.Errorf("it is a listener yet: %+v", c)
	}
}

// A slow listener receives a gap if the entries it still needs were trimmed.
func TestPauseAndTrim(t *testing.T) {
	s := newStand(t)
	cfg := s.config()
	cfg.Queue, cfg.Recent = 2, -1
	r := s.relay(t, cfg)
	l := listen(t, r, relay.Options{All: true})
	watch := listen(t, r, relay.Options{All: true})
	for i := range 20 {
		s.add(t, "a", fmt.Sprint(i))
		texts(t, watch, 1)
	}
	trim(5)(t, s)
	if diff := cmp.Diff([]string{"0", "1"}, texts(t, l, 2)); diff != "" {
		t.Errorf("what had waited (-want +got):\n%s", diff)
	}
	b := next(t, l)
	if b.Gap == nil {
		t.Fatalf("no gap before %q", values(b))
	}
	if diff := cmp.Diff([]string{"15", "16", "17", "18", "19"}, values(b)); diff != "" {
		t.Errorf("after the gap (-want +got):\n%s", diff)
	}
}

// Listeners that resume at the same time, for example after a gateway died, share the entries in
// memory, and reads of older ones.
func TestHerd(t *testing.T) {
	for name, recent := range map[string]int{"in memory": 0, "beyond memory": -1} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			cfg := s.config()
			cfg.Recent = recent
			r := s.relay(t, cfg)
			watch := listen(t, r, relay.Options{All: true})
			from := s.add(t, "x", "first")
			const n, entries = 300, 100
			for i := range entries {
				s.add(t, fmt.Sprint(i%n), fmt.Sprint(i))
			}
			texts(t, watch, entries+1)
			before := r.Counts().Pages
			ls := make([]*relay.Listener[string], n)
			for i := range ls {
				ls[i] = listen(t, r, relay.Options{Topics: []string{fmt.Sprint(i)}, From: from})
			}
			var wg sync.WaitGroup
			for i, l := range ls {
				wg.Go(func() {
					if i < entries {
						if got := texts(t, l, 1); got[0] != fmt.Sprint(i) {
							t.Errorf("listener %d got %q", i, got)
						}
					}
				})
			}
			wg.Wait()
			pages := r.Counts().Pages - before
			if recent == 0 && pages != 0 || pages > 3*entries {
				t.Errorf("%d reads of history", pages)
			}
		})
	}
}

func TestIdleListenersAdvance(t *testing.T) {
	s := newStand(t)
	r := s.relay(t, s.config())
	l := listen(t, r, relay.Options{Topics: []string{"a"}, Idle: time.Millisecond})
	last := s.add(t, "b", "for others")
	redistest.Soon(t, "the cursor has moved", func() bool {
		b := next(t, l)
		if b.Gap != nil || len(b.Items) > 0 {
			t.Fatalf("got %+v", b)
		}
		return b.Cursor == last
	})
	if got := l.Cursor(); got != last {
		t.Errorf("cursor %s, want %s", got, last)
	}
}

func TestAddAndRemove(t *testing.T) {
	s := newStand(t)
	r := s.relay(t, s.config())
	l := listen(t, r, relay.Options{})
	watch := listen(t, r, relay.Options{All: true})
	add := func(topic, text string) {
		s.add(t, topic, text)
		texts(t, watch, 1)
	}
	add("a", "1")
	l.Add("a", "b")
	add("a", "2")
	add("b", "3")
	l.Remove("a")
	l.Remove("a", "never")
	add("a", "4")
	add("b", "5")
	if diff := cmp.Diff([]string{"2", "3", "5"}, texts(t, l, 3)); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
}

func TestCloseEndsNext(t *testing.T) {
	s := newStand(t)
	r := s.relay(t, s.config())
	l, other := listen(t, r, relay.Options{All: true}), listen(t, r, relay.Options{All: true})
	ended := make(chan error, 2)
	for _, l := range []*relay.Listener[string]{l, other} {
		go func() {
			_, err := l.Next(context.Background())
			ended <- err
		}()
	}
	l.Close()
	l.Close()
	if err := <-ended; !errors.Is(err, relay.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	r.Close()
	if err := <-ended; !errors.Is(err, relay.ErrClosed) {
		t.Errorf("relay closed: %v", err)
	}
	if _, err := r.Listen(t.Context(), relay.Options{}); !errors.Is(err, relay.ErrClosed) {
		t.Errorf("listen: %v", err)
	}
	l.Add("a") // useless but harmless
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s2 := newStand(t)
	if _, err := listen(t, s2.relay(t, s2.config()), relay.Options{}).Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// An entry that can't be decoded, or that makes Decode panic, is skipped and counted.
func TestBadEntries(t *testing.T) {
	s := newStand(t)
	cfg := s.config()
	cfg.Decode = func(e *redisio.Entry) (string, []string, error) {
		v, topics, err := decode(e)
		if v == "boom" {
			panic(v)
		}
		return v, topics, err
	}
	s.rdb.XAdd(t.Context(), redistest.Entry(s.key, "no", "text"))
	s.add(t, "a", "history")
	r := s.relay(t, cfg)
	l := listen(t, r, relay.Options{All: true, From: "0"})
	texts(t, l, 1)
	s.rdb.XAdd(t.Context(), redistest.Entry(s.key, "no", "text"))
	s.add(t, "a", "boom")
	s.add(t, "a", "live")
	if diff := cmp.Diff([]string{"live"}, texts(t, l, 1)); diff != "" {
		t.Error(diff)
	}
	if got := r.Counts().Skipped; got != 3 {
		t.Errorf("%d skipped", got)
	}
	last := s.rdb.XAdd(t.Context(), redistest.Entry(s.key, "no", "text")).Val()
	redistest.Soon(t, "the cursor passes it", func() bool { return l.Cursor() == last })
}

func TestNoStream(t *testing.T) {
	s := newStand(t)
	s.rdb.Set(t.Context(), s.key, "x", 0)
	r := relay.New(s.rdb, s.config())
	if _, err := r.Listen(t.Context(), relay.Options{}); !redisio.IsPermanent(err) {
		t.Errorf("listen: %v", err)
	}
	run, err := r.Graph().Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Wait(); err == nil {
		t.Error("the graph ended well")
	}
	if _, err := r.Listen(t.Context(), relay.Options{}); !redisio.IsPermanent(err) {
		t.Errorf("listen: %v", err)
	}
}

func TestConfig(t *testing.T) {
	r := relay.New(nil, relay.Config[string]{Queue: -1, Page: -1, Block: time.Minute})
	var fields []string
	for _, err := range flatten(r.Validate()) {
		var c *redisio.ConfigError
		if errors.As(err, &c) && c.Fix != "" {
			fields = append(fields, c.Field)
		}
	}
	if diff := cmp.Diff([]string{"Key", "Decode", "Queue", "Page", "Block", "rdb"}, fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	if _, err := r.Listen(t.Context(), relay.Options{}); err == nil {
		t.Error("Listen does not mind")
	}
	if err := r.Graph().Validate(); err == nil {
		t.Error("the graph does not mind")
	}
}

func flatten(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range many.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	return []error{err}
}

// The in-process server reports little about its streams. That is enough for first runs.
func TestEmbedded(t *testing.T) {
	srv, err := embedded.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	rdb := srv.Client()
	t.Cleanup(func() { rdb.Close() })
	s := &stand{rdb, "events"}
	r := s.relay(t, s.config())
	l := listen(t, r, relay.Options{All: true})
	want := []string{"0", "1", "2", "3", "4"}
	var ids []string
	for _, text := range want {
		ids = append(ids, s.add(t, "a", text))
	}
	if diff := cmp.Diff(want, texts(t, l, 5)); diff != "" {
		t.Errorf("live (-want +got):\n%s", diff)
	}
	fresh := s.relay(t, s.config()) // nothing in memory
	if diff := cmp.Diff(want[2:], texts(t, listen(t, fresh, relay.Options{All: true, From: ids[1]}), 3)); diff != "" {
		t.Errorf("resumed (-want +got):\n%s", diff)
	}
}

func TestTopicsOfOneEntry(t *testing.T) {
	s := newStand(t)
	r := s.relay(t, s.config())
	l := listen(t, r, relay.Options{Topics: []string{"a", "b", "c"}, All: true})
	s.add(t, "a,b,c", "once")
	s.add(t, "d", "more")
	if got := texts(t, l, 2); !slices.Equal(got, []string{"once", "more"}) {
		t.Errorf("got %q", got)
	}
}

// A user that may read the stream, but not inspect it, receives its entries.
func TestLeastRights(t *testing.T) {
	srv := redistest.Shared(t)
	s := newStand(t)
	rdb := srv.User(t, "relay-"+s.key, "~"+s.key, "+xread", "+xrange", "+xrevrange", "+ping", "+hello", "+client")
	r := relay.New(rdb, s.config())
	run := start(t, r)
	redistest.Soon(t, "the relay is live", func() bool { return run.Ready() == nil })
	l := listen(t, r, relay.Options{All: true})
	s.add(t, "a", "1")
	if got := texts(t, l, 1); got[0] != "1" {
		t.Errorf("got %q", got)
	}
}
