package events_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// A loop that begins after any event yields what an uninterrupted loop does, at another node, with
// each filter.
func TestFollowResumesAfterEachEvent(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	for i := range 40 {
		add(t, s, []string{"note", "memo"}[i%2], []string{"ann", "bob", "eve"}[i%3], fmt.Sprint(i))
	}
	one := feed(t, s.RDB, s.Topic, events.FeedConfig{Queue: 4})
	two := feed(t, s.RDB, s.Topic, events.FeedConfig{})
	ctx := patient(t)
	for name, test := range map[string]struct {
		typ  string
		opts []events.FollowOption
		is   func(i int) bool
	}{
		"all":    {"", nil, func(int) bool { return true }},
		"a type": {"note", nil, func(i int) bool { return i%2 == 0 }},
		"keys":   {"", []events.FollowOption{events.ForKeys("ann", "eve")}, func(i int) bool { return i%3 != 1 }},
		"both":   {"memo", []events.FollowOption{events.ForKeys("bob")}, func(i int) bool { return i%6 == 1 }},
	} {
		var want, cursors []string
		for i := range 40 {
			if test.is(i) {
				want = append(want, fmt.Sprint(i))
			}
		}
		for e, err := range events.Follow[int](one, test.typ, test.opts...)(ctx, "0") {
			if err != nil {
				t.Fatal(err)
			}
			if cursors = append(cursors, e.Cursor); len(cursors) == len(want) {
				break
			}
		}
		for i, cursor := range cursors {
			got, _ := read(t, events.Follow[int](two, test.typ, test.opts...)(ctx, cursor), len(want)-i-1)
			if diff := cmp.Diff(want[i+1:], got, emptyIsNil); diff != "" {
				t.Errorf("%s, after %d (-want +got):\n%s", name, i, diff)
			}
		}
	}
}

var emptyIsNil = cmp.Transformer("len", func(s []string) []string { return append([]string{}, s...) })

func TestEventHasWhatWasPublished(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	pub := publisher(t, s, events.PublisherConfig{})
	publish := events.Publish[notice](pub, "note", gateways.Header("lang", "en"),
		gateways.Keyed(func(n notice) string { return n.For }))
	ctx := gateways.PassOn(patient(t), nil)
	if err := publish(ctx, notice{"ann", "hi"}); err != nil {
		t.Fatal(err)
	}
	f := feed(t, s.RDB, s.Topic, events.FeedConfig{})
	for e, err := range events.Follow[notice](f, "note")(ctx, "0") {
		id, _ := redisio.ParseID(e.Cursor)
		if lang, _ := e.Headers.Get("lang"); err != nil || e.Type != "note" || e.Key != "ann" || e.ID == "" ||
			e.Value != (notice{"ann", "hi"}) || lang != "en" || !e.Time.Equal(id.Time()) || e.Heartbeat {
			t.Errorf("got %+v, %v", e, err)
		}
		break
	}
	for e, err := range events.Follow[string](f, "note")(ctx, "0") { // another type of value, from the same feed
		if err != nil || e.Value != `{"for":"ann","text":"hi"}` {
			t.Errorf("as text: %+v, %v", e, err)
		}
		break
	}
}

// Loops wait for events, share one connection, and end with their context or with break.
func TestLoopsShareOneConnection(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	rdb, connections := named(t, s)
	f := feed(t, rdb, s.Topic, events.FeedConfig{})
	now, err := f.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const loops = 1000
	ctx, cancel := context.WithCancel(patient(t))
	follow := events.Follow[int](f, "n")
	var all, first, second sync.WaitGroup
	first.Add(loops)
	second.Add(loops)
	for i := range loops {
		all.Go(func() {
			sum := 0
			for e, err := range follow(ctx, now) {
				if err != nil {
					t.Error(err)
					return
				}
				switch sum += e.Value; sum {
				case 1:
					first.Done()
				case 3:
					second.Done()
				}
				if sum == 3 && i%2 == 0 {
					break
				}
			}
			if sum != 3 {
				t.Errorf("loop %d got %d", i, sum)
			}
		})
	}
	redistest.Soon(t, "all loops run", func() bool { return f.Stats().Loops == loops })
	add(t, s, "n", "", "1")
	add(t, s, "other", "", "100")
	first.Wait()
	if reading, all := connections(); reading != 1 ||
		all > 16 { // the others are idle: loops looked up where they begin
		t.Errorf("%d connections, of which %d read", all, reading)
	}
	add(t, s, "n", "", "2")
	second.Wait()
	redistest.Soon(t, "half of them break", func() bool { return f.Stats().Loops == loops/2 })
	cancel()
	all.Wait()
	if st := f.Stats(); st.Loops != 0 || st.Gaps != 0 || st.Undecoded != 0 {
		t.Errorf("%+v", st)
	}
}

// Every event that is published after Now comes after its cursor.
func TestNow(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	f := feed(t, s.RDB, s.Topic, events.FeedConfig{})
	for range 5 {
		now, err := f.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		added := add(t, s, "n", "", "1")
		for e, err := range events.Follow[int](f, "n")(patient(t), now) {
			if err != nil || e.Cursor == added { // those before it may come again
				break
			}
		}
	}
}

// An event that cannot be decoded is an error for the loops that follow it, and for none else. They
// go on.
func TestUndecodableEvents(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	add(t, s, "n", "ann", "1")
	bad := add(t, s, "n", "ann", "{")
	if err := s.RDB.XAdd(t.Context(), redistest.Entry(events.Key(s.Topic), "foreign", "x")).Err(); err != nil {
		t.Fatal(err)
	}
	add(t, s, "n", "ann", "2")
	f := feed(t, s.RDB, s.Topic, events.FeedConfig{})
	const wrong = "*redisio.DecodeError"
	for name, loop := range map[string]struct {
		typ  string
		want []string
	}{
		"a type": {"n", []string{"1", wrong, wrong, "2"}}, "all": {"", []string{"1", wrong, wrong, "2"}},
		"another type": {"m", []string{wrong}},
	} {
		if got, _ := read(t, events.Follow[int](f, loop.typ)(patient(t), "0"), len(loop.want)); !slices.Equal(got,
			loop.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got, _ := read(t, events.Follow[string](f, "n")(patient(t), "0"), 2); got[1] != "{" {
		t.Errorf("as text: %q", got)
	}
	var decode *redisio.DecodeError
	for e, err := range events.Follow[int](f, "n", events.ForKeys("ann"))(patient(t), "0") {
		if e.Value == 1 {
			continue
		}
		if !errors.As(err, &decode) || decode.ID != bad || e.Cursor != bad || e.Type != "n" || e.Key != "ann" {
			t.Errorf("%+v, %v", e, err)
		}
		break
	}
	if n := f.Stats().Undecoded; n == 0 {
		t.Error("it is not counted")
	}
}

type explosive struct{}

func (*explosive) UnmarshalJSON([]byte) error { panic("boom") }

func TestPanicsOfDecodersAreErrors(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	add(t, s, "n", "", "{}")
	f := feed(t, s.RDB, s.Topic, events.FeedConfig{})
	for range 2 {
		if got, _ := read(t, events.Follow[explosive](f, "n")(patient(t), "0"), 1); got[0] != "*redisio.DecodeError" {
			t.Errorf("got %q", got)
		}
	}
}

func TestNoKeysAreNoEvents(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	newest := add(t, s, "n", "ann", "1")
	f := feed(t, s.RDB, s.Topic, events.FeedConfig{})
	none := events.Follow[int](f, "n", events.ForKeys(), events.Heartbeats(time.Millisecond))
	for e, err := range none(patient(t), "0") {
		if err != nil || !e.Heartbeat {
			t.Fatalf("got %+v, %v", e, err)
		}
		if e.Cursor == newest {
			break
		}
	}
}

// Heartbeats pass the events of others, so a loop with few events of its own resumes without a gap.
func TestHeartbeatsPassOtherEvents(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	f := feed(t, s.RDB, s.Topic, events.FeedConfig{})
	add(t, s, "rare", "", "1")
	rare := events.Follow[int](f, "rare", events.Heartbeats(10*time.Millisecond))
	other, cursor := "", ""
	for e, err := range rare(patient(t), "0") {
		if err != nil {
			t.Fatal(err)
		}
		if cursor = e.Cursor; other == "" && e.Heartbeat {
			other = add(t, s, "other", "", "2")
		}
		if cursor == other {
			break
		}
	}
	add(t, s, "rare", "", "3")
	s.RDB.XTrimMaxLen(t.Context(), events.Key(s.Topic), 2) // without the event of the type that was yielded
	second := feed(t, s.RDB, s.Topic, events.FeedConfig{})
	if got, _ := read(t, events.Follow[int](second, "rare")(patient(t), cursor), 1); got[0] != "3" {
		t.Errorf("got %q", got)
	}
}
