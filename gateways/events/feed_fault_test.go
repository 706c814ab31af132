package events_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// A loop behind the trimmed end gets a gap first, and goes on.
func TestFollowBehindTheTrimmedEnd(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	first := add(t, s, "n", "", "0")
	for i := range 9 {
		add(t, s, "n", "", fmt.Sprint(i+1))
	}
	s.RDB.XTrimMaxLen(t.Context(), events.Key(s.Topic), 3)
	f := feed(t, s.RDB, s.Topic, events.FeedConfig{})
	var got []string
	for e, err := range events.Follow[int](f, "n")(patient(t), first) {
		var gap *events.GapError
		switch {
		case errors.As(err, &gap):
			if len(got) > 0 || gap.From != first || e.Cursor != gap.To || gap.Missed != -1 || e.Heartbeat {
				t.Errorf("after %q: %+v, %+v", got, e, gap)
			}
			if again, _ := read(t, events.Follow[int](f, "n")(patient(t), e.Cursor), 1); again[0] != "7" {
				t.Errorf("a loop from the end of the gap: %q", again)
			}
			got = append(got, "gap")
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, fmt.Sprint(e.Value))
		}
		if len(got) == 4 {
			break
		}
	}
	if want := []string{"gap", "7", "8", "9"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got, _ := read(t, events.Follow[int](f, "n")(patient(t), "0"), 1); got[0] != "7" {
		t.Errorf("the oldest that is kept: %q", got)
	}
	if got, _ := read(t, events.Follow[int](f, "n")(patient(t), "1-1"), 2); got[1] != "7" {
		t.Errorf("long gone: %q", got)
	}
	if n := f.Stats().Gaps; n != 2 {
		t.Errorf("%d gaps are counted", n)
	}
}

// live starts the feed and waits until it reads the stream. It returns a cursor from which loops begin
// in memory.
func live(t testing.TB, s *rig.Stand, f *events.Feed, connections func() (reading, all int)) (cursor string) {
	t.Helper()
	start := add(t, s, "start", "", "0")
	if _, err := f.Now(t.Context()); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "the stream is read", func() bool {
		reading, _ := connections()
		return reading == 1
	})
	return start
}

// offered waits until a live feed has passed an event to its loops.
func offered(t testing.TB, f *events.Feed, cursor string) {
	t.Helper()
	redistest.Soon(t, "the feed has read all events", func() bool {
		now, err := f.Now(t.Context())
		return err == nil && now == cursor
	})
}

// A loop that is slow gets what FeedConfig.Overflow promises.
func TestSlowLoops(t *testing.T) {
	t.Parallel()
	const n = 50
	for overflow, right := range map[events.Overflow]func(got, missed int, err error) bool{
		events.OverflowPause: func(got, missed int, err error) bool {
			return got == n && missed == 0 && err == nil
		},
		events.OverflowDropOldest: func(got, missed int, err error) bool {
			return got < n && got+missed == n && err == nil
		},
		events.OverflowClose: func(got, _ int, err error) bool {
			return got < n && errors.Is(err, events.ErrTooSlow)
		},
	} {
		t.Run(fmt.Sprint(overflow), func(t *testing.T) {
			t.Parallel()
			s := rig.NewStand(t)
			rdb, connections := named(t, s)
			f := feed(t, rdb, s.Topic, events.FeedConfig{
				Overflow: overflow, Queue: 4, Linger: redistest.Patience, // it stays live until the loop begins
			})
			start := live(t, s, f, connections)
			add(t, s, "n", "", "1")
			got, missed := 0, 0
			var end error
			for e, err := range events.Follow[int](f, "n")(patient(t), start) {
				var gap *events.GapError
				switch {
				case errors.As(err, &gap):
					missed += gap.Missed
				case err != nil:
					end = err
				default:
					got++
				}
				if got == 1 && missed == 0 && end == nil {
					newest := ""
					for i := range n - 1 {
						newest = add(t, s, "n", "", fmt.Sprint(i+2))
					}
					offered(t, f, newest)
				}
				if e.Value == n {
					break
				}
			}
			if !right(got, missed, end) {
				t.Errorf("got %d, %d missed, %v", got, missed, end)
			}
			if st := f.Stats(); (st.Slow == 1) != (overflow == events.OverflowClose) || (st.Gaps > 0) != (missed > 0) {
				t.Errorf("%+v", st)
			}
		})
	}
}

// While Redis is away, a loop waits. It misses nothing, and no goroutine is left when it gives up.
func TestFollowWaitsForRedis(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	p := redistest.StartProxy(t, redistest.Shared(t).Addr())
	p.SetDown(true)
	f := feed(t, p.Client(t), s.Topic, events.FeedConfig{})
	follow := events.Follow[int](f, "n")
	gone, cancel := context.WithCancel(t.Context())
	refused := p.Counts().Refused
	ended := make(chan error, 1)
	go func() {
		for _, err := range follow(gone, "0") {
			ended <- err
			return
		}
		ended <- nil
	}()
	redistest.Soon(t, "it tries", func() bool { return p.Counts().Refused > refused })
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("a loop that gave up: %v", err)
	}
	if _, err := f.Now(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("now, given up: %v", err)
	}
	p.SetDown(false)
	add(t, s, "n", "", "0")
	next := 0
	for e, err := range follow(patient(t), "0") {
		if err != nil || e.Value != next {
			t.Fatalf("got %+v, %v, not %d", e, err, next)
		}
		if next++; next == 30 {
			break
		}
		if next%10 == 0 { // an outage, with an event in the middle
			p.SetDown(true)
			p.CutAll()
		}
		add(t, s, "n", "", fmt.Sprint(next))
		p.SetDown(false)
	}
}

// A failover lost the newest events: a loop goes on with what the new server has, and a cursor of a
// lost event is a gap.
func TestFollowAfterAFailover(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	p := redistest.StartProxy(t, redistest.Shared(t).Addr())
	put := func(rdb *redis.Client, ids ...int) {
		for _, id := range ids {
			e := redistest.Entry(events.Key(s.Topic), "data", fmt.Sprint(id), "type", "n")
			e.ID = fmt.Sprintf("%d-0", id)
			if err := rdb.XAdd(t.Context(), e).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(s.RDB, 1, 2, 3)
	f := feed(t, p.Client(t), s.Topic, events.FeedConfig{})
	var got []string
	for e, err := range events.Follow[int](f, "n")(patient(t), "0") {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, e.Cursor); len(got) == 3 {
			redistest.Soon(t, "the feed is live", func() bool {
				now, err := f.Now(t.Context())
				return err == nil && now == "3-0"
			})
			other := redistest.Start(t)
			put(other.Client(t), 1, 2, 5) // it never had 3
			p.Redirect(other.Addr())
			p.CutAll()
		}
		if len(got) == 4 {
			break
		}
	}
	if want := []string{"1-0", "2-0", "3-0", "5-0"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	second := feed(t, p.Client(t), s.Topic, events.FeedConfig{})
	if got, cursor := read(t, events.Follow[int](second, "n")(patient(t), "3-0"), 2); got[0] != "*events.GapError" ||
		cursor != "5-0" {
		t.Errorf("from the lost event: %q, up to %s", got, cursor)
	}
}

// ends returns the error that ends a loop.
func ends(f *events.Feed, ctx context.Context, cursor string) (err error) {
	for _, err = range events.Follow[int](f, "n")(ctx, cursor) {
	}
	return err
}

func TestLoopsEndWithTypedErrors(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	add(t, s, "n", "", "1")
	f := feed(t, s.RDB, s.Topic, events.FeedConfig{})
	var bad *events.CursorError
	if err := ends(f, patient(t), "yesterday"); !errors.As(err, &bad) || bad.Cursor != "yesterday" {
		t.Errorf("a bad cursor: %v", err)
	}
	o := *s.RDB.Options()
	o.Username, o.Password = "nobody", "wrong"
	stranger := redis.NewClient(&o)
	t.Cleanup(func() { _ = stranger.Close() })
	var refused *redisio.PermanentError
	if err := ends(feed(t, stranger, s.Topic, events.FeedConfig{}), patient(t), "0"); !errors.As(err, &refused) ||
		!redisio.IsPermanent(err) {
		t.Errorf("refused credentials: %v", err)
	}
	if _, err := feed(t, stranger, s.Topic, events.FeedConfig{}).Now(t.Context()); !errors.As(err, &refused) {
		t.Errorf("refused credentials, now: %v", err)
	}
	other := rig.NewStand(t)
	if err := other.RDB.Set(t.Context(), events.Key(other.Topic), "text", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if err := ends(feed(t, other.RDB, other.Topic, events.FeedConfig{}), patient(t), "0"); !errors.As(err, &refused) {
		t.Errorf("a key of another type: %v", err)
	}
	mistaken := events.NewFeed(nil, "", events.FeedConfig{Overflow: 9, Queue: -1, Linger: -1})
	if n := len(rig.Flat(mistaken.Validate())); n != 5 {
		t.Errorf("%d mistakes: %v", n, mistaken.Validate())
	}
	if err := ends(mistaken, t.Context(), ""); err == nil || mistaken.Close(t.Context()) != nil {
		t.Errorf("mistakes: %v", err)
	}
}

// Close ends loops that wait.
func TestCloseEndsLoops(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	add(t, s, "n", "", "1")
	f := feed(t, s.RDB, s.Topic, events.FeedConfig{})
	ctx := patient(t)
	closed := make(chan error, 1)
	n := 0
	for _, err := range events.Follow[int](f, "n")(ctx, "0") {
		if n++; n == 1 {
			go func() { closed <- f.Close(ctx) }()
			continue
		}
		if !errors.Is(err, gateways.ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
	if err := <-closed; err != nil || n != 2 {
		t.Errorf("close: %v, %d elements", err, n)
	}
	if err := ends(f, ctx, "0"); !errors.Is(err, gateways.ErrClosed) {
		t.Errorf("a loop of a closed feed: %v", err)
	}
}

// The rights of FeedConfig.Access suffice for all that a feed does.
func TestFeedAccess(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	srv := redistest.Shared(t)
	user := strings.ReplaceAll(s.Topic, ":", "-")
	rdb := srv.User(t, user, append(events.FeedConfig{}.Access(s.Topic).Rules(), "+client")...)
	t.Cleanup(func() { s.RDB.Do(context.Background(), "acl", "deluser", user) })
	old := add(t, s, "n", "", "0")
	for i := range 20 {
		add(t, s, "n", "", fmt.Sprint(i+1))
	}
	s.RDB.XTrimMaxLen(t.Context(), events.Key(s.Topic), 3)
	f := feed(t, rdb, s.Topic, events.FeedConfig{})
	got, cursor := read(t, events.Follow[int](f, "n")(patient(t), old), 4)
	if want := []string{"*events.GapError", "18", "19", "20"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	add(t, s, "n", "", "21")
	if got, _ := read(t, events.Follow[int](f, "n")(patient(t), cursor), 1); got[0] != "21" {
		t.Errorf("live: %q", got)
	}
	if err := ends(feed(t, rdb, s.Topic+"x", events.FeedConfig{}), patient(t), "0"); !redisio.IsPermanent(err) {
		t.Errorf("another topic: %v", err)
	}
}
