package main

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/redisio/embedded"
)

// bubble calls f with a store on a server in memory, in virtual time.
func bubble(t *testing.T, f func(context.Context, store)) {
	synctest.Test(t, func(t *testing.T) {
		server := embedded.Pipe()
		defer server.Close()
		rdb := server.Client()
		defer rdb.Close()
		f(context.Background(), store{rdb})
	})
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestPresence(t *testing.T) {
	bubble(t, func(ctx context.Context, s store) {
		yes, here := must[bool](t), func() []string { t.Helper(); return must[[]string](t)(s.here(ctx, "lobby")) }
		same := func(want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, here(), cmp.Transformer("nil",
				func(l []string) []string { return append([]string{}, l...) })); diff != "" {
				t.Errorf("here (-want +got):\n%s", diff)
			}
		}
		if !yes(s.seen(ctx, "lobby", "Bob", "1")) || !yes(s.seen(ctx, "lobby", "Ann", "2")) ||
			yes(s.seen(ctx, "lobby", "Ann", "2")) {
			t.Error("news that is none, or none that is")
		}
		yes(s.seen(ctx, "lobby", "Ann", "3")) // in a second window
		same("Ann", "Bob")

		// Bob's socket is gone, and comes back in time.
		if err := s.lost(ctx, "lobby", "Bob", "1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(leaving - time.Second)
		yes(s.seen(ctx, "lobby", "Bob", "1"))
		time.Sleep(2 * time.Second)
		if yes(s.expire(ctx, "lobby")) {
			t.Error("somebody is gone")
		}
		// Then it does not, and Ann's process dies without a word.
		if err := s.lost(ctx, "lobby", "Bob", "1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(leaving + time.Second)
		if !yes(s.expire(ctx, "lobby")) {
			t.Error("Bob is not gone")
		}
		same("Ann")
		time.Sleep(present)
		if !yes(s.expire(ctx, "lobby")) || yes(s.expire(ctx, "lobby")) {
			t.Error("Ann is not gone once")
		}
		same()
		if err := s.lost(ctx, "lobby", "Ann", "2"); err != nil || len(here()) != 0 {
			t.Error("who is gone is here again:", err)
		}
		yes(s.seen(ctx, "lobby", "Ann", "2"))
		if !yes(s.left(ctx, "lobby", "Ann", "2")) || yes(s.left(ctx, "lobby", "Ann", "2")) {
			t.Error("she has not left once")
		}
	})
}

func TestRoomsAreBounded(t *testing.T) {
	bubble(t, func(ctx context.Context, s store) {
		for i := range maxRooms - len(firstRooms) {
			name := fmt.Sprint("room-", i)
			if !must[bool](t)(s.mayOpen(ctx, name)) {
				t.Fatalf("no %s", name)
			}
			must[bool](t)(s.seen(ctx, name, "Ann", "1"))
		}
		if must[bool](t)(s.mayOpen(ctx, "one-more")) || !must[bool](t)(s.mayOpen(ctx, "room-3")) ||
			!must[bool](t)(s.mayOpen(ctx, "lobby")) {
			t.Error("the bound is not what it should be")
		}
		rooms := must[[]room](t)(s.list(ctx))
		if len(rooms) != maxRooms || rooms[0] != (room{"lobby", 0}) || rooms[3] != (room{"room-0", 1}) {
			t.Errorf("%d rooms: %v", len(rooms), rooms)
		}
		time.Sleep(keepFor + time.Minute)
		if rooms := must[[]room](t)(s.list(ctx)); len(rooms) != len(firstRooms) {
			t.Errorf("%d rooms are left: %v", len(rooms), rooms)
		}
	})
}

func TestHistory(t *testing.T) {
	bubble(t, func(ctx context.Context, s store) {
		begin := time.Now().Truncate(time.Millisecond).UTC()
		for i := range history + 5 {
			l := line{
				ID:   fmt.Sprint(i),
				At:   begin.Add(time.Duration(i) * time.Millisecond),
				From: "Ann",
				Room: "lobby",
				Text: "hello",
			}
			for range 2 { // a worker may do it twice
				if err := s.keep(ctx, l); err != nil {
					t.Fatal(err)
				}
			}
		}
		lines := must[[]line](t)(s.past(ctx, conversation("lobby", "Ann", "")))
		if len(lines) != history || lines[0].ID != "5" || lines[history-1].ID != fmt.Sprint(history+4) {
			t.Errorf("%d lines, from %s", len(lines), lines[0].ID)
		}
		if err := s.keep(ctx, line{ID: "x", At: begin, From: "Ann", To: "Bob", Text: "psst"}); err != nil {
			t.Fatal(err)
		}
		if conversation("", "Ann", "Bob") != conversation("", "Bob", "Ann") {
			t.Error("a conversation is not the same from both ends")
		}
		if lines := must[[]line](t)(s.past(ctx, conversation("", "Bob", "Ann"))); len(lines) != 1 ||
			lines[0].Text != "psst" {
			t.Errorf("between two: %+v", lines)
		}
		time.Sleep(ratePeriod)
		for i := range rateLines + 2 {
			if ok := must[bool](t)(s.allow(ctx, "say", "Ann", rateLines)); ok != (i < rateLines) {
				t.Errorf("line %d: %v", i, ok)
			}
		}
		if !must[bool](t)(s.allow(ctx, "say", "Bob", rateLines)) {
			t.Error("Ann's rate is Bob's")
		}
		time.Sleep(ratePeriod)
		if !must[bool](t)(s.allow(ctx, "say", "Ann", rateLines)) {
			t.Error("the rate is for ever")
		}
	})
}
