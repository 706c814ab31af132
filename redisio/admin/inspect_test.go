package admin

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/readers"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// deliver reads n entries as a consumer and settles none.
func deliver(t testing.TB, rdb redis.UniversalClient, key, group, consumer string, n int64) []string {
	t.Helper()
	got, err := rdb.XReadGroup(rig.Ctx(t),
		&redis.XReadGroupArgs{Group: group, Consumer: consumer, Streams: []string{key, ">"}, Count: n}).
		Result()
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range got[0].Messages {
		ids = append(ids, m.ID)
	}
	return ids
}

func onlyGroup(t testing.TB, rdb redis.UniversalClient, key string) GroupState {
	t.Helper()
	groups, err := Groups(rig.Ctx(t), rdb, key)
	if err != nil || len(groups) != 1 {
		t.Fatalf("%d groups, %v", len(groups), err)
	}
	return groups[0]
}

func TestStreams(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	var want []string
	for i := range 30 {
		k := fmt.Sprintf("%s:%02d", key, i)
		want = append(want, k)
		rig.Add(t, rdb, k, i%3+1)
	}
	if err := rdb.Set(rig.Ctx(t), key+":string", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for k, err := range Streams(rig.Ctx(t), rdb, key+":*") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, k)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
	for range Streams(rig.Ctx(t), rdb, "") {
		break
	}
	rig.GroupAt(t, rdb, want[0], "g", "0")
	states, err := InspectStreams(rig.Ctx(t), rdb, want[0], want[1], key+":none")
	if err != nil {
		t.Fatal(err)
	}
	if s := states[0]; s.Length != 1 || s.Groups != 1 || s.First == "" || s.First != s.Last {
		t.Errorf("%+v", s)
	}
	if s := states[1]; s.Length != 2 || s.Groups != 0 || s.First >= s.Last {
		t.Errorf("%+v", s)
	}
	if diff := cmp.Diff(StreamState{Key: key + ":none"}, states[2]); diff != "" {
		t.Errorf("none: %s", diff)
	}
	if _, err = InspectStreams(rig.Ctx(t), rdb, key+":string"); !redisio.IsPermanent(err) {
		t.Errorf("a string: %v", err)
	}
}

func TestGroups(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	ids := rig.Add(t, rdb, key, 10)
	rig.GroupAt(t, rdb, key, "g", "0")
	rig.GroupAt(t, rdb, key, "none", "$")
	deliver(t, rdb, key, "g", "a", 3)
	deliver(t, rdb, key, "g", "b", 1)
	groups, err := Groups(rig.Ctx(t), rdb, key)
	if err != nil || len(groups) != 2 {
		t.Fatalf("%+v %v", groups, err)
	}
	g := groups[0]
	if g.Name != "g" || g.Lag != 6 || g.LagAtLeast || g.Pending != 4 || g.Oldest != ids[0] || g.Unread != ids[4] ||
		len(g.Members) != 2 ||
		g.Members[0].Pending != 3 {
		t.Errorf("%+v", g)
	}
	if g := groups[1]; g.Lag != 0 || g.Unread != "" || g.UnreadAge != 0 || g.Pending != 0 {
		t.Errorf("%+v", g)
	}
	if _, err := Groups(rig.Ctx(t), rdb, key+":none"); err == nil || !strings.Contains(err.Error(), "no such key") {
		t.Errorf("of none: %v", err)
	}
}

// If the server does not know the lag, entries are counted, up to a bound.
func TestGroupsCountLag(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	ids := rig.Add(t, rdb, key, 100)
	rig.GroupAt(t, rdb, key, "g", ids[10])
	if err := rdb.XDel(rig.Ctx(t), key, ids[50]).Err(); err != nil { // a hole: the server's own count is no more
		t.Fatal(err)
	}
	if g := onlyGroup(t, rdb, key); g.Lag != 88 || g.LagAtLeast {
		t.Errorf("%+v", g)
	}
	for range 100 {
		rig.Add(t, rdb, key, 100)
	}
	if g := onlyGroup(t, rdb, key); g.Lag < maxCounted || g.Lag > maxCounted+1000 || !g.LagAtLeast {
		t.Errorf("%+v", g)
	}
}

func TestPendingByAge(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	now := rdb.Time(rig.Ctx(t)).Val()
	n := 0
	for _, ago := range []time.Duration{50 * time.Hour, 2 * time.Hour, 2 * time.Minute, 0} {
		for i := range 700 {
			id := redisio.IDAt(now.Add(-ago))
			id.Seq = uint64(i)
			if err := rdb.XAdd(rig.Ctx(t),
				&redis.XAddArgs{Stream: key, ID: id.String(), Values: []string{"n", "1"}}).Err(); err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	rig.GroupAt(t, rdb, key, "g", "0")
	deliver(t, rdb, key, "g", "a", 700)
	deliver(t, rdb, key, "g", "b", 2100)
	p, err := PendingByAge(rig.Ctx(t), rdb, key, "g")
	if err != nil || p.Total != int64(n) {
		t.Fatalf("%+v %v", p, err)
	}
	got := map[time.Duration]int64{}
	for _, b := range p.Buckets {
		got[b.Below] = b.Count
	}
	if got[0] != 700 || got[6*time.Hour] != 700 || got[10*time.Minute] != 700 ||
		got[10*time.Second]+got[time.Minute] != 700 {
		t.Errorf("buckets %v", got)
	}
	if a, b := p.Consumers["a"], p.Consumers["b"]; a.Count != 700 || b.Count != 2100 || a.OldestAge < 49*time.Hour ||
		b.OldestAge > 3*time.Hour ||
		b.MaxDeliveries != 1 {
		t.Errorf("consumers %+v", p.Consumers)
	}
	some := 0
	for e, err := range PendingEntries(rig.Ctx(t), rdb, key, "g", "b") {
		if err != nil || e.Consumer != "b" {
			t.Fatalf("%+v %v", e, err)
		}
		some++
	}
	if some != 2100 {
		t.Errorf("%d of b", some)
	}
	if _, err := PendingByAge(rig.Ctx(t), rdb, key, "g", time.Hour, time.Minute); err == nil {
		t.Error("bounds that shrink are taken")
	}
	if _, err := PendingByAge(rig.Ctx(t), rdb, key, "nobody"); fault.Judge(err) != fault.LostGroup {
		t.Errorf("no such group: %v", err)
	}
}

func TestReset(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	ids := rig.Add(t, rdb, key, 10)
	rig.GroupAt(t, rdb, key, "g", "0")
	delivered := deliver(t, rdb, key, "g", "old", 6)
	if err := rdb.XAck(rig.Ctx(t), key, "g", delivered[:4]...).Err(); err != nil {
		t.Fatal(err)
	}
	at := func(i int) redisio.ID {
		id, err := redisio.ParseID(ids[i])
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	for name, c := range map[string]struct {
		to             redisio.Start
		again, skipped int64
	}{
		"start":    {redisio.StartBeginning(), 6, 0},
		"end":      {redisio.StartEnd(), 0, 4},
		"earlier":  {redisio.StartID(at(1)), 4, 0},
		"later":    {redisio.StartID(at(7)), 0, 2},
		"the same": {redisio.StartID(at(5)), 0, 0},
		"time":     {redisio.StartTime(time.Now().Add(-time.Hour)), 6, 0},
	} {
		plan, err := Reset(rig.Ctx(t), rdb, key, "g", c.to, ResetOptions{DryRun: true})
		if err != nil || plan.Again != c.again || plan.Skipped != c.skipped || plan.AtLeast || plan.From != at(5) ||
			plan.Pending != 2 ||
			len(plan.Live) != 1 {
			t.Errorf("%s: %+v %v", name, plan, err)
		}
	}
	_, err := Reset(rig.Ctx(t), rdb, key, "g", redisio.StartBeginning(), ResetOptions{})
	var live *LiveConsumersError
	if !errors.As(err, &live) || !cmp.Equal(live.Consumers, []string{"old"}) {
		t.Fatalf("with a live consumer: %v", err)
	}
	if g := onlyGroup(t, rdb, key); g.Delivered != ids[5] {
		t.Fatalf("refused, but the position is %s", g.Delivered)
	}
	if _, err := Reset(rig.Ctx(t), rdb, key, "g", redisio.StartID(at(1)), ResetOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if g := onlyGroup(t, rdb, key); g.Delivered != ids[1] || g.Pending != 2 {
		t.Fatalf("%+v", g)
	}
	if again := deliver(t, rdb, key, "g", "new", 100); !cmp.Equal(again, ids[2:]) {
		t.Errorf("delivered again: %v, want %v", again, ids[2:])
	}
	for name, err := range map[string]error{
		"no position": rig.Second(Reset(rig.Ctx(t), rdb, key, "g", redisio.Start{}, ResetOptions{})),
		"options": rig.Second(Reset(rig.Ctx(t), rdb, key, "g", redisio.StartEnd(),
			ResetOptions{Pending: 9, Live: -1})),
		"no group": rig.Second(Reset(rig.Ctx(t), rdb, key, "nobody", redisio.StartEnd(), ResetOptions{})),
		"no stream": rig.Second(Reset(rig.Ctx(t), rdb, key+":none", "g", redisio.StartEnd(),
			ResetOptions{Force: true})),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The script that resets checks again that no consumer is alive.
func TestResetRace(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Add(t, rdb, key, 3)
	rig.GroupAt(t, rdb, key, "g", "0")
	deliver(t, rdb, key, "g", "late", 1)
	for _, script := range []string{scriptReset, scriptUnpend} {
		args := []any{"g", 30_000, redisio.ReleasedConsumer, "0", "drop", 10}
		if script == scriptReset {
			args = args[:4]
		}
		if answer := rdb.Eval(rig.Ctx(t), script, []string{key}, args...).String(); !strings.Contains(answer, "late") {
			t.Errorf("%s", answer)
		}
	}
	if g := onlyGroup(t, rdb, key); g.Pending != 1 || g.Delivered == "0-0" {
		t.Errorf("%+v", g)
	}
}

func TestResetPending(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	ids := rig.Add(t, rdb, key, 3*script.PageSize/2)
	rig.GroupAt(t, rdb, key, "g", "0")
	deliver(t, rdb, key, "g", "dead", 3*script.PageSize/2)
	o := ResetOptions{Force: true, Pending: ReleasePending}
	plan, err := Reset(rig.Ctx(t), rdb, key, "g", redisio.StartEnd(), o)
	if err != nil {
		t.Fatal(err)
	}
	if n := int64(len(ids)); plan.Settled != n || plan.Pending != n {
		t.Errorf("%+v", plan)
	}
	p, err := PendingByAge(rig.Ctx(t), rdb, key, "g")
	if r := p.Consumers[redisio.ReleasedConsumer]; err != nil || r.Count != int64(len(ids)) || r.MaxDeliveries != 1 ||
		r.MaxIdle < time.Hour {
		t.Fatalf("%+v %v", p, err)
	}
	reader, _ := readers.Open(
		t,
		rdb,
		reader.GroupConfig{Key: key},
	) // takes them at once, though its lease is half a minute
	if e := rig.Read(t, reader, 1)[0]; e.ID != ids[0] || e.Deliveries != 2 {
		t.Errorf("%+v", e)
	}
	// The consumer of released entries is not taken for a live one, and dropping leaves nothing.
	o = ResetOptions{Force: true, Pending: DropPending}
	if plan, err = Reset(rig.Ctx(t), rdb, key, "g", redisio.StartEnd(), o); err != nil ||
		plan.Settled != int64(len(ids)) {
		t.Errorf("%+v %v", plan, err)
	}
	if g := onlyGroup(t, rdb, key); g.Pending != 0 || g.Lag != 0 {
		t.Errorf("%+v", g)
	}
}

func TestReap(t *testing.T) {
	t.Parallel()
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Add(t, rdb, key, 2)
	rig.GroupAt(t, rdb, key, "g", "0")
	deliver(t, rdb, key, "g", "busy", 1)
	if err := rdb.XGroupCreateConsumer(rig.Ctx(t), key, "g", "gone").Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "one is reaped", func() bool {
		n, err := Reap(rig.Ctx(t), rdb, key, "g", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return n == 1
	})
	if g := onlyGroup(t, rdb, key); len(g.Members) != 1 || g.Members[0].Name != "busy" || g.Pending != 1 {
		t.Errorf("%+v", g)
	}
	if _, err := Reap(rig.Ctx(t), rdb, key, "g", 0); err == nil {
		t.Error("no idle time is taken")
	}
}
