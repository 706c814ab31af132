package relay_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// put writes an entry with a given ID.
func (s *stand) put(t testing.TB, id, text string) {
	t.Helper()
	err := s.rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: s.key, ID: id, Values: []string{"topics", "a", "text",
		text}}).
		Err()
	if err != nil {
		t.Fatal(err)
	}
}

// The first items of a listener depend on its cursor and on changes of the stream.
func TestCursors(t *testing.T) {
	for name, test := range map[string]struct {
		make func(t *testing.T, s *stand)
		from string
		gap  *relay.Gap
		want []string // after the gap, and before "live"
	}{
		"in the stream":                  {from: "20-0", want: []string{"30", "40"}},
		"the beginning":                  {from: "0", want: []string{"10", "20", "30", "40"}},
		"the newest":                     {from: "40-0"},
		"a time":                         {from: "15", want: []string{"20", "30", "40"}},
		"a time before all":              {from: "1", want: []string{"10", "20", "30", "40"}},
		"a time to come":                 {from: "900"},
		"from the future":                {from: "50-0", gap: &relay.Gap{From: "50-0", To: "40-0", Missed: -1}},
		"of another stream":              {from: "21-0", gap: &relay.Gap{From: "21-0", To: "21-0", Missed: -1}, want: []string{"30", "40"}},
		"of one long gone":               {from: "5-0", gap: &relay.Gap{From: "5-0", To: "5-0", Missed: -1}, want: []string{"10", "20", "30", "40"}},
		"trimmed":                        {trim(2), "10-0", &relay.Gap{From: "10-0", To: "29-18446744073709551615", Missed: -1}, []string{"30", "40"}},
		"the newest trimmed":             {trim(0), "40-0", nil, nil},
		"emptied":                        {trim(0), "10-0", &relay.Gap{From: "10-0", To: "40-0", Missed: -1}, nil},
		"of a stream that was empty":     {from: "0-0", want: []string{"10", "20", "30", "40"}},
		"of one that was empty, trimmed": {trim(2), "0-0", &relay.Gap{From: "0-0", To: "29-18446744073709551615", Missed: -1}, []string{"30", "40"}},
		"beginning of emptied":           {trim(0), "0", nil, nil},
		"beginning of trimmed":           {trim(2), "0", nil, []string{"30", "40"}},
		"the end of a gap":               {trim(2), "29-18446744073709551615", nil, []string{"30", "40"}},
		"deleted":                        {del, "10-0", &relay.Gap{From: "10-0", To: "0-0", Missed: -1}, nil},
		"made again":                     {again("100-0"), "30-0", &relay.Gap{From: "30-0", To: "30-0", Missed: -1}, []string{"again"}},
		"made again, and older":          {again("3-0"), "30-0", &relay.Gap{From: "30-0", To: "3-0", Missed: -1}, nil},
		"trimmed to ours": {func(t *testing.T, s *stand) {
			s.rdb.XTrimMaxLen(t.Context(), s.key, 3)
		}, "20-0", nil, []string{"30", "40"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			for _, n := range []int{10, 20, 30, 40} {
				s.put(t, fmt.Sprintf("%d-0", n), fmt.Sprint(n))
			}
			if test.make != nil {
				test.make(t, s)
			}
			r := s.relay(t, s.config())
			l := listen(t, r, relay.Options{From: test.from, Topics: []string{"a"}})
			s.add(t, "a", "live")
			var gap *relay.Gap
			var got []string
			for len(got) < len(test.want)+1 {
				b := next(t, l)
				if b.Gap != nil {
					if gap != nil || len(got) > 0 {
						t.Fatalf("a second gap, or a late one: %+v", *b.Gap)
					}
					gap = b.Gap
				}
				for _, it := range b.Items {
					got = append(got, it.Value)
				}
			}
			if diff := cmp.Diff(test.gap, gap); diff != "" {
				t.Errorf("gap (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(append(test.want, "live"), got); diff != "" {
				t.Errorf("items (-want +got):\n%s", diff)
			}
		})
	}
}

func trim(n int64) func(*testing.T, *stand) {
	return func(t *testing.T, s *stand) { s.rdb.XTrimMaxLen(t.Context(), s.key, n) }
}

func del(t *testing.T, s *stand) { s.rdb.Del(t.Context(), s.key) }

func again(id string) func(*testing.T, *stand) {
	return func(t *testing.T, s *stand) {
		del(t, s)
		s.put(t, id, "again")
	}
}

func TestBadCursors(t *testing.T) {
	s := newStand(t)
	r := s.relay(t, s.config())
	for _, from := range []string{"x", "-", "1-", "-1", "1-2-3", "$", "+", "1-0\r\n", "99999999999999999999-0",
		fmt.Sprintf("%050d", 1), "1 0"} {
		var bad *relay.CursorError
		if _, err := r.Listen(t.Context(), relay.Options{From: from}); !errors.As(err, &bad) || bad.Cursor != from {
			t.Errorf("%q: %v", from, err)
		}
	}
}

// If entries are trimmed before the relay has read them, live listeners receive a gap with their
// number.
func TestTrimmedWhileRedisWasAway(t *testing.T) {
	s := newStand(t)
	p := redistest.StartProxy(t, redistest.Shared(t).Addr())
	r := relay.New(p.Client(t), s.config())
	run := start(t, r)
	redistest.Soon(t, "the relay is live", func() bool { return run.Ready() == nil })
	l := listen(t, r, relay.Options{Topics: []string{"a"}})
	last := s.add(t, "a", "seen")
	texts(t, l, 1)
	p.SetDown(true)
	p.CutAll()
	for i := range 10 {
		s.add(t, "a", fmt.Sprint(i))
	}
	s.rdb.XTrimMaxLen(t.Context(), s.key, 3)
	p.SetDown(false)
	b := next(t, l)
	if b.Gap == nil || b.Gap.Missed != 7 || b.Gap.From != last {
		t.Fatalf("got %+v", b.Gap)
	}
	got := values(b)
	for len(got) < 3 {
		got = append(got, values(next(t, l))...)
	}
	if diff := cmp.Diff([]string{"7", "8", "9"}, got); diff != "" {
		t.Errorf("after the gap (-want +got):\n%s", diff)
	}
}

func values(b relay.Batch[string]) (v []string) {
	for _, it := range b.Items {
		v = append(v, it.Value)
	}
	return v
}

// After an outage of Redis without a trim, nothing is lost and no gap is reported.
func TestRedisAway(t *testing.T) {
	s := newStand(t)
	p := redistest.StartProxy(t, redistest.Shared(t).Addr())
	r := relay.New(p.Client(t), s.config())
	run := start(t, r)
	redistest.Soon(t, "the relay is live", func() bool { return run.Ready() == nil })
	l := listen(t, r, relay.Options{Topics: []string{"a"}})
	s.add(t, "a", "0")
	texts(t, l, 1)
	p.SetDown(true)
	p.CutAll()
	var want []string
	for i := range 10 {
		s.add(t, "a", fmt.Sprint(i))
		want = append(want, fmt.Sprint(i))
	}
	old := listen(
		t,
		r,
		relay.Options{Topics: []string{"a"}, From: l.Cursor()},
	) // it is in memory, so Redis may be down
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Listen(ctx, relay.Options{From: "1-1"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cursor that must be looked up, of a listener that does not wait: %v", err)
	}
	p.SetDown(false)
	for name, l := range map[string]*relay.Listener[string]{"live": l, "resumed": old} {
		if diff := cmp.Diff(want, texts(t, l, len(want))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A stream is deleted and created again, and its IDs start over.
func TestMadeAgain(t *testing.T) {
	s := newStand(t)
	r := s.relay(t, s.config())
	l := listen(t, r, relay.Options{Topics: []string{"a"}})
	s.put(t, "100-0", "old")
	texts(t, l, 1)
	del(t, s)
	s.put(t, "5-0", "new")
	s.put(t, "6-0", "newer")
	b := next(t, l)
	if diff := cmp.Diff(&relay.Gap{From: "100-0", To: "0-0", Missed: -1}, b.Gap); diff != "" {
		t.Errorf("gap (-want +got):\n%s", diff)
	}
	got := values(b)
	for len(got) < 2 {
		got = append(got, values(next(t, l))...)
	}
	if diff := cmp.Diff([]string{"new", "newer"}, got); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
	redistest.Soon(t, "the cursor is of the new stream", func() bool { return l.Cursor() == "6-0" })
}

// After a failover, the new master lacks the newest entries and reuses their IDs, or older ones.
// Entries that were read from the old master are not delivered again.
func TestFailoverReissuesIDs(t *testing.T) {
	s := newStand(t)
	r := s.relay(t, s.config())
	live := listen(t, r, relay.Options{Topics: []string{"a"}})
	for _, n := range []string{"10", "20", "30", "40"} {
		s.put(t, n+"-0", n)
	}
	texts(t, live, 4)
	pipe := s.rdb.TxPipeline() // the new master: it never got 30 and 40
	pipe.Del(t.Context(), s.key)
	for _, e := range [][2]string{{"10-0", "10"}, {"20-0", "20"}, {"25-0", "new"}, {"30-0", "reissued"}} {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: s.key, ID: e[0], Values: []string{"topics", "a", "text", e[1]}})
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"new", "reissued"}, texts(t, live, 2)); diff != "" {
		t.Errorf("after the failover (-want +got):\n%s", diff)
	}
}

// As before, but the new master has newer entries by the time the relay connects. Only the broken
// connection indicates the failover.
func TestFailoverBehindABrokenConnection(t *testing.T) {
	s := newStand(t)
	p := redistest.StartProxy(t, redistest.Shared(t).Addr())
	r := relay.New(p.Client(t), s.config())
	run := start(t, r)
	redistest.Soon(t, "the relay is live", func() bool { return run.Ready() == nil })
	live := listen(t, r, relay.Options{Topics: []string{"a"}})
	for _, n := range []string{"10", "20", "30", "40"} {
		s.put(t, n+"-0", n)
	}
	texts(t, live, 4)
	p.SetDown(true)
	p.CutAll()
	del(t, s)
	for _, e := range [][2]string{{"10-0", "10"}, {"20-0", "20"}, {"25-0", "new"}, {"50-0", "newer"}} {
		s.put(t, e[0], e[1])
	}
	p.SetDown(false)
	if diff := cmp.Diff([]string{"new", "newer"}, texts(t, live, 2)); diff != "" {
		t.Errorf("after the failover (-want +got):\n%s", diff)
	}
	redistest.Soon(t, "the cursor is of what is there", func() bool { return live.Cursor() == "50-0" })
}
