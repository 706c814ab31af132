package schedule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func newScheduler(t testing.TB, rdb redis.UniversalClient, cfg Config) *Scheduler {
	t.Helper()
	s, err := New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func schedule(t testing.TB, s *Scheduler, entries ...Delayed) {
	t.Helper()
	if err := s.Schedule(rig.Ctx(t), entries, make([]redisio.Result, len(entries))); err != nil {
		t.Fatal(err)
	}
}

// moveAll moves what is due.
func moveAll(t testing.TB, s *Scheduler) (moved int) {
	t.Helper()
	for {
		n, _, err := s.Move(rig.Ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		if moved += n; n == 0 {
			return moved
		}
	}
}

func past(id string, fields ...redisio.Field) Delayed {
	if len(fields) == 0 {
		fields = redisio.Fields{{Name: "n", Value: []byte(id)}}
	}
	return Delayed{ID: id, At: time.Now().Add(-time.Minute), Fields: fields}
}

func future(id string) Delayed {
	return Delayed{ID: id, At: time.Now().Add(time.Hour), Fields: redisio.Fields{{Name: "n", Value: []byte(id)}}}
}

// values returns what is in the stream, by the first field's value.
func values(t testing.TB, rdb redis.UniversalClient, key string) (all []string) {
	t.Helper()
	for _, e := range stored(t, rdb, key) {
		all = append(all, string(e.Fields[0].Value))
	}
	return all
}

func stored(t testing.TB, rdb redis.UniversalClient, key string) []redisio.Entry {
	t.Helper()
	raw := redis.NewRawCmd(rig.Ctx(t), "xrange", key, "-", "+")
	if err := rdb.Process(rig.Ctx(t), raw); err != nil {
		t.Fatal(err)
	}
	var b redisio.Batch
	if err := resp.ParseEntries(raw.Val(), 0, &b); err != nil {
		t.Fatal(err)
	}
	return b.Entries
}

func TestScheduleKeysShareTheSlot(t *testing.T) {
	for key, want := range map[string]string{
		"orders":     "{orders}:later",
		"{shop}:a":   "{shop}:a:later",
		"a{b}c{d}":   "a{b}c{d}:later",
		"{}orders":   "", // an empty tag counts for nothing, and any other key in braces has another
		"or}ders":    "",
		"a{b":        "",
		"with space": "{with space}:later",
	} {
		keys := ScheduleKeys(key)
		if want == "" {
			if keys != nil && redisio.HashTag(keys[1]) != redisio.HashTag(key) {
				t.Errorf("%q: %q", key, keys)
			}
			continue
		}
		if keys == nil || keys[1] != want {
			t.Errorf("%q: %q, want %q", key, keys, want)
			continue
		}
		for _, k := range keys {
			if redisio.HashTag(k) != redisio.HashTag(key) {
				t.Errorf("%q is not in the slot of %q", k, key)
			}
		}
	}
}

func TestScheduleConfig(t *testing.T) {
	_, err := New(nil, Config{MaxPayload: -1, Every: -1, Idle: time.Microsecond, Count: 100_000})
	var fields []string
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		for _, line := range strings.Split(e.Error(), "\n") {
			fields = append(fields, strings.SplitN(line, ":", 3)[1])
		}
	}
	want := []string{
		" schedule.New.rdb",
		" schedule.Config.Key",
		" schedule.Config.MaxPayload",
		" schedule.Config.Every",
		" schedule.Config.Idle",
		" schedule.Config.Count",
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}

func TestScheduleKeepsFieldsAsTheyAre(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	key := redistest.Key(t)
	s := newScheduler(t, rdb, Config{Key: key})
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	want := redisio.Fields{
		{Name: "b", Value: every},
		{Name: "a", Value: nil},
		{Name: "b", Value: []byte("3:x\r\n")},
		{Name: string(every), Value: []byte("12:")},
		{Name: "", Value: []byte("\n")},
		{Name: "big", Value: bytes.Repeat(every, 1000)},
	}
	schedule(t, s, Delayed{ID: "x", Fields: want})
	if moveAll(t, s) != 1 {
		t.Fatal("not moved")
	}
	got := stored(t, rdb, key)
	if len(got) != 1 || len(got[0].Fields) != len(want) {
		t.Fatalf("%d entries", len(got))
	}
	for i, f := range got[0].Fields {
		if f.Name != want[i].Name || !bytes.Equal(f.Value, want[i].Value) {
			t.Errorf("field %d is %.40q = %.40q", i, f.Name, f.Value)
		}
	}
}

func TestScheduleIsIdempotent(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	key := redistest.Key(t)
	s := newScheduler(t, rdb, Config{Key: key})
	a := past("a")
	schedule(t, s, a, a)
	schedule(t, s, a)
	if n := moveAll(t, s); n != 1 {
		t.Fatalf("%d moved", n)
	}
	schedule(t, s, a) // a reply that was lost for long
	if n := moveAll(t, s); n != 0 {
		t.Errorf("%d moved again", n)
	}
	again := past("a", redisio.Field{Name: "n", Value: []byte("other")}) // the name is free again
	schedule(t, s, again)
	if n := moveAll(t, s); n != 1 {
		t.Errorf("%d moved of something else with that name", n)
	}
	if diff := cmp.Diff([]string{"a", "other"}, values(t, rdb, key)); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
}

func TestScheduleReplacesCancelsAndLists(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	key := redistest.Key(t)
	s := newScheduler(t, rdb, Config{Key: key})
	if info, err := s.Info(rig.Ctx(t)); err != nil || info != (Info{}) {
		t.Fatal(info, err)
	}
	if _, next, err := s.Move(rig.Ctx(t)); err != nil || next >= 0 {
		t.Fatal(next, err)
	}
	a, b, c := future("a"), future("b"), future("c")
	b.At = b.At.Add(-30 * time.Minute)
	schedule(t, s, a, b, c)
	b.At = a.At.Add(-time.Minute)
	b.Fields = redisio.Fields{{Name: "n", Value: []byte("new")}}
	schedule(t, s, b)
	info, err := s.Info(rig.Ctx(t))
	if err != nil || info.Count != 3 || !info.Next.Equal(b.At.Truncate(time.Millisecond)) {
		t.Errorf("%+v, %v", info, err)
	}
	if n, err := s.Cancel(rig.Ctx(t), "a", "no such"); n != 1 || err != nil {
		t.Error(n, err)
	}
	list, err := s.List(rig.Ctx(t), 0, 10)
	if err != nil || len(list) != 2 || list[0].ID != "b" || string(list[0].Fields[0].Value) != "new" ||
		list[1].ID != "c" {
		t.Errorf("%+v, %v", list, err)
	}
	if moved, next, err := s.Move(rig.Ctx(t)); moved != 0 || err != nil || next < 50*time.Minute || next > time.Hour {
		t.Error(moved, next, err)
	}
	if n, err := s.Cancel(rig.Ctx(t), "b", "c"); n != 2 || err != nil {
		t.Error(n, err)
	}
	if n := rdb.Exists(rig.Ctx(t), s.Keys()...).Val(); n != 0 {
		t.Errorf("%d keys left of an empty schedule", n)
	}
}

func TestScheduleSaysWhatBecameOfEach(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	key := redistest.Key(t)
	s := newScheduler(t, rdb, Config{Key: key, MaxPayload: 100})
	entries := []Delayed{
		{Fields: redisio.Fields{{Name: "n", Value: []byte("1")}}}, {ID: "none"},
		{
			ID:     "large",
			Fields: redisio.Fields{{Name: "n", Value: make([]byte, 200)}},
		}, {ID: "wide", Fields: make(redisio.Fields, 4000)},
		{Fields: redisio.Fields{{Name: "n", Value: []byte("2")}}},
	}
	results := make([]redisio.Result, len(entries))
	err := s.Schedule(rig.Ctx(t), entries, results)
	var large *redisio.TooLargeError
	if !errors.Is(err, redisio.ErrNotWritten) || !errors.As(results[2].Err, &large) {
		t.Errorf("%v", err)
	}
	for i, r := range results {
		if bad := i >= 1 && i <= 3; bad != errors.Is(r.Err, redisio.ErrNotWritten) ||
			!bad && (r.ID == "" || r.ID != entries[i].ID) {
			t.Errorf("entry %d: %+v", i, r)
		}
	}
	moveAll(t, s)
	if diff := cmp.Diff([]string{"1", "2"}, values(t, rdb, key)); diff != "" { // IDs that were chosen keep the order
		t.Errorf("stream (-want +got):\n%s", diff)
	}
}

func TestScheduleOfWrongTypeWritesNothing(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	for at := range 4 {
		key := redistest.Key(t)
		s := newScheduler(t, rdb, Config{Key: key})
		schedule(t, s, past("a"))
		if at == 1 || at == 2 {
			rdb.Del(rig.Ctx(t), s.keys[1], s.keys[2])
		}
		rdb.Set(rig.Ctx(t), s.keys[at], "text", 0)
		var p *redisio.PermanentError
		if _, _, err := s.Move(rig.Ctx(t)); !errors.As(err, &p) {
			t.Errorf("key %d: move: %v", at, err)
		}
		if err := s.Run(rig.Ctx(t)); !errors.As(err, &p) {
			t.Errorf("key %d: run: %v", at, err)
		}
		if err := s.Schedule(rig.Ctx(t), []Delayed{past("b")}, make([]redisio.Result, 1)); !errors.Is(
			err,
			redisio.ErrNotWritten,
		) ||
			!redisio.IsPermanent(err) {
			t.Errorf("key %d: schedule: %v", at, err)
		}
		if n := rdb.ZCard(rig.Ctx(t), s.keys[1]).Val(); at != 1 && at != 2 && n != 1 {
			t.Errorf("key %d: %d entries wait", at, n)
		}
	}
}

// TestO6_MoveIsWholePerEntry is infrahub#10133: a move that fails halfway leaves what it moved
// moved, and the rest waiting.
func TestO6_MoveIsWholePerEntry(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	key := redistest.Key(t)
	s := newScheduler(t, rdb, Config{Key: key})
	// The stream has room for two more IDs: the third XADD fails.
	if err := rdb.XAdd(rig.Ctx(t),
		&redis.XAddArgs{Stream: key, ID: "18446744073709551615-18446744073709551613",
			Values: []string{"n", "0"}}).Err(); err != nil {
		t.Fatal(err)
	}
	schedule(t, s, past("1"), past("2"), past("3"), past("4"))
	for range 3 {
		if _, _, err := s.Move(rig.Ctx(t)); err == nil {
			t.Fatal("no error of a full stream")
		}
	}
	if diff := cmp.Diff([]string{"0", "1", "2"}, values(t, rdb, key)); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
	list, err := s.List(rig.Ctx(t), 0, 10)
	if err != nil || len(list) != 2 || list[0].ID != "3" || list[1].ID != "4" {
		t.Errorf("waiting: %+v, %v", list, err)
	}
}

func TestScheduleEntriesOfOthersAreInNobodysWay(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	key := redistest.Key(t)
	s := newScheduler(t, rdb, Config{Key: key})
	for i, packed := range []string{"", "x", "m\n", "m\n1:a", "m\n1:a9:b", "m\n-1:a1:b", "m\na:a1:b", "m\n1:a0"} {
		id := fmt.Sprint("bad", i)
		rdb.ZAdd(rig.Ctx(t), s.keys[1], redis.Z{Score: float64(i), Member: id})
		rdb.HSet(rig.Ctx(t), s.keys[2], id, packed)
	}
	rdb.ZAdd(rig.Ctx(t), s.keys[1], redis.Z{Score: 99, Member: "no fields"})
	schedule(t, s, past("good"))
	moveAll(t, s)
	if diff := cmp.Diff([]string{"good"}, values(t, rdb, key)); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
	if info, err := s.Info(rig.Ctx(t)); err != nil || info != (Info{Broken: 9}) {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestScheduleTenThousandInOrder(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	key := redistest.Key(t)
	s := newScheduler(t, rdb, Config{Key: key})
	const n = 10_000
	began := time.Now().Add(-time.Hour)
	entries := make([]Delayed, n)
	for i, at := range rand.Perm(n) {
		entries[i] = Delayed{
			At:     began.Add(time.Duration(at) * time.Millisecond),
			Fields: redisio.Fields{{Name: "n", Value: fmt.Appendf(nil, "%05d", at)}},
		}
	}
	schedule(t, s, entries...)
	var movers sync.WaitGroup
	for range 3 { // racing
		movers.Go(func() { moveAll(t, newScheduler(t, rdb, Config{Key: key})) })
	}
	movers.Wait()
	got := values(t, rdb, key)
	if len(got) != n || !slices.IsSorted(got) || len(slices.Compact(got)) != n {
		t.Errorf("%d entries, in order: %v", len(got), slices.IsSorted(got))
	}
	if moved := rdb.ZCard(rig.Ctx(t), s.keys[3]).Val(); moved != n {
		t.Errorf("%d remembered as moved", moved)
	}
}

func TestScheduleForgetsWhatMovedLongAgo(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	key := redistest.Key(t)
	s := newScheduler(t, rdb, Config{Key: key})
	schedule(t, s, past("a"), past("b"))
	old := float64(time.Now().Add(-time.Hour).UnixMilli())
	rdb.ZAdd(rig.Ctx(t), s.keys[3], redis.Z{Score: old, Member: "old"})
	moveAll(t, s)
	if n := rdb.ZCard(rig.Ctx(t), s.keys[3]).Val(); n != 2 {
		t.Errorf("%d are remembered, want 2", n)
	}
	// By number as well.
	schedule(t, s, past("c"))
	if err := rdb.Eval(rig.Ctx(t), scriptMove, s.keys, 10, 1<<20, 60_000, 2).Err(); err != nil {
		t.Fatal(err)
	}
	if n := rdb.ZCard(rig.Ctx(t), s.keys[3]).Val(); n != 2 {
		t.Errorf("%d are remembered, want 2 at most", n)
	}
}

// TestScheduleLostReplies cuts the replies of calls that the server has carried out: neither
// scheduling nor moving loses or duplicates anything.
func TestScheduleLostReplies(t *testing.T) {
	t.Parallel()
	srv := redistest.Shared(t)
	rdb, key := srv.Client(t), redistest.Key(t)
	p := rig.NewProxy(t, srv.Addr())
	s := newScheduler(t, p.Client(t), Config{Key: key, Count: 7})
	var want []string
	for i := range 50 {
		id := fmt.Sprintf("%02d", i)
		want = append(want, id)
		e := past(id)
		e.At = e.At.Add(time.Duration(i) * time.Millisecond)
		if i%10 == 0 {
			p.LoseReplies("eval", 10) // more than the client tries
		}
		for {
			err := s.Schedule(rig.Ctx(t), []Delayed{e}, make([]redisio.Result, 1))
			if err == nil {
				break
			}
			if !errors.Is(err, redisio.ErrUnknownOutcome) {
				t.Fatal(err)
			}
			if i%20 == 0 { // it is moved before it is scheduled again
				moveAll(t, newScheduler(t, rdb, Config{Key: key}))
			}
		}
	}
	p.LoseReplies("eval", 6)
	run, stop := context.WithCancelCause(t.Context())
	var mover sync.WaitGroup
	mover.Go(func() { _ = s.Run(run) }) // its error is why it was stopped
	redistest.Soon(t, "all are moved", func() bool { return rdb.XLen(rig.Ctx(t), key).Val() >= int64(len(want)) })
	stop(errors.New("done"))
	mover.Wait()
	if diff := cmp.Diff(want, values(t, rdb, key)); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
	if p.Lost() < 20 {
		t.Errorf("only %d replies were lost", p.Lost())
	}
}

func TestSchedulerRun(t *testing.T) {
	srv := redistest.Start(t)
	rdb, key := srv.Client(t), redistest.Key(t)
	s := newScheduler(t, rdb, Config{Key: key, Every: 20 * time.Millisecond, Idle: time.Hour})
	mover := s.Keep(nil)
	t.Cleanup(func() { _ = mover.Stop() })
	other := newScheduler(t, rdb, Config{Key: key, Every: 20 * time.Millisecond})
	second := other.Keep(nil)
	began := time.Now()
	due := func(id string, d time.Duration) Delayed {
		return Delayed{ID: id, At: began.Add(d), Fields: redisio.Fields{{Name: "n", Value: []byte(id)}}}
	}
	schedule(
		t,
		s,
		due("c", 300*time.Millisecond),
		due("a", 50*time.Millisecond),
		due("b", 100*time.Millisecond),
	) // wakes it
	redistest.Soon(t, "what is due is moved", func() bool { return rdb.XLen(rig.Ctx(t), key).Val() == 3 })
	if diff := cmp.Diff([]string{"a", "b", "c"}, values(t, rdb, key)); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
	for i, e := range stored(t, rdb, key) {
		if at := e.Position.Time(); at.Before(
			began.Add([]time.Duration{50, 100, 300}[i] * time.Millisecond).Truncate(time.Millisecond),
		) {
			t.Errorf("entry %d came early, at %v", i, at.Sub(began))
		}
	}
	if err := second.Stop(); err != nil {
		t.Error(err)
	}
	// The server restarts without its data: the same mover moves entries that are scheduled
	// afterwards.
	srv.Restart(t)
	redistest.Soon(t, "the server is back", func() bool { return rdb.Ping(rig.Ctx(t)).Err() == nil })
	schedule(t, s, due("d", 0))
	redistest.Soon(t, "the mover is back", func() bool { return rdb.XLen(rig.Ctx(t), key).Val() == 1 })
	if err := mover.Stop(); err != nil {
		t.Error(err)
	}
	srv.Client(t).Set(rig.Ctx(t), key, "text", 0)
	told := make(chan error, 1)
	broken := s.Keep(func(err error) { told <- err })
	<-broken.Done()
	if err := broken.Stop(); !redisio.IsPermanent(err) || !errors.Is(<-told, err) {
		t.Errorf("of a wrong type: %v", err)
	}
}

func TestSchedulerPause(t *testing.T) {
	s := &Scheduler{cfg: Config{Every: time.Second, Idle: 10 * time.Second}}
	for range 1000 {
		for d, most := range map[time.Duration]time.Duration{
			-1: 10 * time.Second, 0: 4 * time.Millisecond, time.Hour: time.Second,
			100 * time.Millisecond: 103 * time.Millisecond,
		} {
			got := s.Pause(d)
			if got <= 0 || got > most || d > 0 && d < time.Second && got < d ||
				d > time.Second && got < 900*time.Millisecond {
				t.Fatalf("with the next in %v it sleeps %v", d, got)
			}
		}
	}
}

func FuzzPackFields(f *testing.F) {
	f.Add("a", []byte("b"), "", []byte{})
	f.Fuzz(func(t *testing.T, n1 string, v1 []byte, n2 string, v2 []byte) {
		in := redisio.Fields{{Name: n1, Value: v1}, {Name: n2, Value: v2}}
		out, ok := unpackFields(packFields(in))
		if !ok || len(out) != 2 {
			t.Fatalf("%q", packFields(in))
		}
		for i := range in {
			if in[i].Name != out[i].Name || !bytes.Equal(in[i].Value, out[i].Value) {
				t.Fatalf("%q became %q", in, out)
			}
		}
		_, _ = unpackFields(n1) // must not panic
	})
}

func hourly(after time.Time) time.Time { return after.Truncate(time.Hour).Add(time.Hour) }

func TestDueTicks(t *testing.T) {
	base := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name      string
		last, now time.Duration
		missed    int
		want      []int // hours
	}{
		{"nothing", 0, 59 * time.Minute, 1, nil},
		{"on time", 0, time.Hour, 0, []int{1}},
		{"a little late", 0, time.Hour + 9*time.Second, 0, []int{1}},
		{"late", 0, time.Hour + 11*time.Second, 0, nil},
		{"late, made up for", 0, time.Hour + 59*time.Minute, 1, []int{1}},
		{"many missed, the last", 0, 50*time.Hour + time.Minute, 1, []int{50}},
		{"many missed, some", 0, 50*time.Hour + time.Minute, 3, []int{48, 49, 50}},
		{"fewer missed than made up for", 0, 2*time.Hour + time.Minute, 100, []int{1, 2}},
		{"many missed, now on time", 0, 50 * time.Hour, 0, []int{50}},
		{"years", 0, 10 * 365 * 24 * time.Hour, 2, []int{10*365*24 - 1, 10 * 365 * 24}},
		{"the clock went back", 2 * time.Hour, time.Hour, 5, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []int
			for _, tick := range dueTicks(hourly, base.Add(test.last), base.Add(test.now), test.missed) {
				got = append(got, int(tick.Sub(base).Hours()))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("ticks (-want +got):\n%s", diff)
			}
		})
	}
	calls := 0
	secondly := func(after time.Time) time.Time { calls++; return after.Truncate(time.Second).Add(time.Second) }
	if got := dueTicks(secondly, base, base.Add(10*365*24*time.Hour), 1); len(got) != 1 || calls > 100 {
		t.Errorf("%v after %d steps: it must not walk through years", got, calls)
	}
	if got := dueTicks(func(time.Time) time.Time { return time.Time{} }, base, base.Add(time.Hour), 1); len(got) != 0 {
		t.Errorf("never is %v", got)
	}
}

func TestTicker(t *testing.T) {
	srv := redistest.Shared(t)
	rdb, key := srv.Client(t), redistest.Key(t)
	cfg := TickerConfig{Key: key, MaxLen: 100,
		Next: func(after time.Time) time.Time {
			return after.Truncate(10 * time.Millisecond).Add(10 * time.Millisecond)
		},
		Fields: func(tick time.Time) redisio.Fields {
			return redisio.Fields{{Name: "n", Value: fmt.Append(nil, tick.UnixMilli())}}
		},
	}
	var keepers []*Keeper
	p := rig.NewProxy(t, srv.Addr())
	for i := range 3 {
		c := rdb
		if i == 2 {
			c = p.Client(t)
		}
		tick, err := NewTicker(c, cfg)
		if err != nil {
			t.Fatal(err)
		}
		keepers = append(keepers, tick.Keep(nil))
	}
	redistest.Soon(t, "ticks come", func() bool { return rdb.XLen(rig.Ctx(t), key).Val() >= 10 })
	p.LoseReplies("eval", 20)
	redistest.Soon(t, "more come", func() bool { return rdb.XInfoStream(rig.Ctx(t), key).Val().EntriesAdded >= 30 })
	for _, k := range keepers {
		if err := k.Stop(); err != nil {
			t.Error(err)
		}
	}
	for _, e := range stored(t, rdb, key) {
		if e.Position.Seq != 0 || e.Position.Ms%10 != 0 || string(e.Fields[0].Value) != fmt.Sprint(e.Position.Ms) {
			t.Errorf("entry %s with %s is no tick", e.ID, e.Fields[0].Value)
		}
	}
	if _, err := NewTicker(rdb, TickerConfig{Missed: -1, MaxLen: -1}); strings.Count(err.Error(), "\n") != 4 {
		t.Errorf("mistakes: %v", err)
	}
}
