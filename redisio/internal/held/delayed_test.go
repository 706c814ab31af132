package held

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

func TestDue(t *testing.T) {
	var h Set
	h.Init()
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	park := func(id uint64, ms int) { h.set(redisio.ID{Ms: id}, Record{State: Delayed, Due: Ticks(at(ms))}) }
	want := func(ms, n int, ids ...string) {
		t.Helper()
		got, how := h.Due(at(ms), n)
		if !slices.Equal(got, ids) || len(how) != len(ids) {
			t.Fatalf("after %d ms: %v (%d known), want %v", ms, got, len(how), ids)
		}
	}
	next := func(ms, in int) {
		t.Helper()
		if got, ok := h.NextDue(at(ms)); !ok || got != time.Duration(in)*time.Millisecond {
			t.Fatalf("next in %v, %v, want %d ms", got, ok, in)
		}
	}
	for id := range uint64(6) {
		park(6-id, 10)
	}
	park(9, 20)
	next(0, 10)
	want(0, 10)
	want(10, 2, "1-0", "2-0")
	next(10, 0)
	park(8, 15) // falls due while others wait
	h.Move([]string{"3-0"}, Absent)
	h.Move([]string{"4-0"}, Doubted)
	want(16, 1, "5-0")
	h.PutBack([]string{"5-0"}, map[string]Record{"5-0": {State: Delayed, Due: Ticks(at(10))}})
	want(16, 10, "6-0")
	want(16, 10, "5-0", "8-0")
	next(16, 4)
	want(19, 10)
	want(20, 10, "9-0")
	if _, ok := h.NextDue(at(30)); ok || h.Waiting() != 1 {
		t.Fatalf("%d parked, want the one in doubt, which never falls due", h.Waiting())
	}
}

// After an outage very many entries are due at once. They are taken a few at a time, as credits
// return.
func BenchmarkDue(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var h Set
			h.Init()
			now := time.Now()
			for i := range n {
				h.set(redisio.ID{Ms: uint64(i)}, Record{State: Delayed, Due: Ticks(now)})
			}
			for b.Loop() {
				ids, how := h.Due(now, 1)
				h.PutBack(ids, how)
			}
		})
	}
}
