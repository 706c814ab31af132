package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/readers"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/schedule"
)

// spy records how many commands of each name a client sends, and the number of arguments of the
// longest script call.
type spy struct {
	mu      sync.Mutex
	sent    map[string]int
	longest int
}

// spied returns a client and the spy that records its commands.
func spied(t testing.TB, s *redistest.Server) (*redis.Client, *spy) {
	rdb, seen := s.Client(t), &spy{sent: make(map[string]int)}
	rdb.AddHook(seen)
	return rdb, seen
}

func (s *spy) note(cmds ...redis.Cmder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range cmds {
		name := c.Name()
		if args := c.Args(); name == "xinfo" {
			name += fmt.Sprint(" ", args[1])
		}
		if s.sent[name]++; name == "eval" {
			s.longest = max(s.longest, len(c.Args()))
		}
	}
}

func (s *spy) All() (n int) {
	for _, times := range s.sent {
		n += times
	}
	return n
}

func (s *spy) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *spy) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		s.note(cmd)
		return next(ctx, cmd)
	}
}

func (s *spy) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		s.note(cmds...)
		return next(ctx, cmds)
	}
}

// manyGroups creates n groups, each a little further behind.
func manyGroups(t testing.TB, rdb redis.UniversalClient, key string, ids []string, n int) {
	t.Helper()
	pipe := rdb.Pipeline()
	for i := range n {
		pipe.XGroupCreate(rig.Ctx(t), key, fmt.Sprintf("g%04d", i), ids[len(ids)-1-i%len(ids)])
	}
	if _, err := pipe.Exec(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
}

// Each group costs a few commands, however many there are, and the list of groups is asked for
// once.
func TestFault_D13_GroupsAreLinear(t *testing.T) {
	server, key := redistest.Shared(t), redistest.Key(t)
	rdb, seen := spied(t, server)
	ids := rig.Add(t, rdb, key, 50)
	const n = 250
	manyGroups(t, rdb, key, ids, n)
	clear(seen.sent)
	groups, err := Groups(rig.Ctx(t), rdb, key)
	if err != nil || len(groups) != n {
		t.Fatalf("%d groups, %v", len(groups), err)
	}
	if seen.sent["xinfo groups"] != 1 || seen.All() > 3*n+10 {
		t.Errorf("for %d groups: %v", n, seen.sent)
	}
	clear(seen.sent)
	g, err := FindGroup(rig.Ctx(t), rdb, key, "g0007")
	if err != nil || g.Name != "g0007" || g.Lag != 7 || g.Length != 50 {
		t.Errorf("%+v %v", g, err)
	}
	if seen.All() > 10 {
		t.Errorf("for one group of %d: %v", n, seen.sent)
	}
	if _, err := FindGroup(rig.Ctx(t), rdb, key, "none"); !errors.Is(err, redisio.ErrNoGroup) {
		t.Errorf("no such group: %v", err)
	}
}

// If the server knows no lag, one walk serves all groups.
func TestFault_D13_LagsAreCountedTogether(t *testing.T) {
	server, key := redistest.Shared(t), redistest.Key(t)
	rdb, seen := spied(t, server)
	ids := rig.Add(t, rdb, key, 3000)
	if err := rdb.XDel(rig.Ctx(t), key, ids[2990]).Err(); err != nil { // a hole: the server's count is unknown
		t.Fatal(err)
	}
	const n = 200
	manyGroups(t, rdb, key, ids, n)
	rig.GroupAt(t, rdb, key, "far", ids[999])
	rig.GroupAt(t, rdb, key, "beginning", "0")
	clear(seen.sent)
	groups, err := Groups(rig.Ctx(t), rdb, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		read, _ := redisio.ParseID(g.Delivered)
		want := int64(0)
		for i, id := range ids {
			if at, _ := redisio.ParseID(id); at.Compare(read) > 0 && i != 2990 {
				want++
			}
		}
		if g.Lag != want || g.LagAtLeast {
			t.Errorf("group %s: lag %d, want %d", g.Name, g.Lag, want)
		}
	}
	if read := seen.sent["xrevrange"] + seen.sent["xrange"]; read > len(groups)+20 {
		t.Errorf("%d reads for %d groups: %v", read, len(groups), seen.sent)
	}
}

// One script deletes a hundred consumers at most.
func TestFault_D13_ReapIsBounded(t *testing.T) {
	server, key := redistest.Shared(t), redistest.Key(t)
	rdb, seen := spied(t, server)
	rig.Add(t, rdb, key, 2)
	rig.GroupAt(t, rdb, key, "g", "0")
	deliver(t, rdb, key, "g", "busy", 1)
	pipe := rdb.Pipeline()
	for i := range 250 {
		pipe.XGroupCreateConsumer(rig.Ctx(t), key, "g", fmt.Sprint("past", i))
	}
	if _, err := pipe.Exec(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	n, err := script.Reap(rig.Ctx(t), rdb, key, "g", "past7", 0)
	if n != 249 || err != nil || seen.sent["eval"] != 3 || seen.longest > script.ReapChunk+5 {
		t.Errorf("%d reaped in %d scripts of up to %d arguments, %v", n, seen.sent["eval"], seen.longest, err)
	}
	if g := onlyGroup(t, rdb, key); len(g.Members) != 2 || g.Pending != 1 {
		t.Errorf("left: %+v", g)
	}
}

// One script drops ten thousand entries at most, and the last one drops to the entry.
func TestFault_D13_TrimIsBounded(t *testing.T) {
	server, key := redistest.Shared(t), redistest.Key(t)
	rdb, seen := spied(t, server)
	const n = 25_000
	pipe := rdb.Pipeline()
	for i := range n {
		pipe.XAdd(rig.Ctx(t), &redis.XAddArgs{Stream: key, ID: fmt.Sprintf("1-%d", i+1), Values: []string{"n", "x"}})
	}
	if _, err := pipe.Exec(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	rig.GroupAt(t, rdb, key, "g", "1-24950")
	plan, err := PlanTrim(rig.Ctx(t), rdb, key, TrimOptions{})
	want := TrimPlan{
		Length:  n,
		Groups:  1,
		Entries: maxCounted,
		AtLeast: true,
		First:   redisio.ID{Ms: 1, Seq: 1},
		Last:    redisio.ID{Ms: 1, Seq: 24950},
		Keep:    redisio.ID{Ms: 1, Seq: 24951},
		Group:   "g",
	}
	if diff := cmp.Diff(want, plan); err != nil || diff != "" {
		t.Errorf("plan %v:\n%s", err, diff)
	}
	dropped, err := Trim(rig.Ctx(t), rdb, key, TrimOptions{Exact: true})
	if dropped != 24_950 || err != nil || seen.sent["eval"] < 3 {
		t.Errorf("%d dropped by %d scripts, %v", dropped, seen.sent["eval"], err)
	}
	if first := rdb.XRangeN(rig.Ctx(t), key, "-", "+", 1).Val(); first[0].ID != "1-24951" {
		t.Errorf("first %s", first[0].ID)
	}
}

func TestFault_D14_PlanTrim(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	for i := range 10 {
		if err := rdb.XAdd(rig.Ctx(t),
			&redis.XAddArgs{Stream: key, ID: fmt.Sprintf("0-%d", i+1), Values: []string{"n", "x"}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		o    TrimOptions
		want TrimPlan
	}{
		"nothing":     {TrimOptions{}, TrimPlan{}},
		"before":      {TrimOptions{Before: redisio.ID{Ms: 0, Seq: 4}}, TrimPlan{Entries: 3, First: redisio.ID{Ms: 0, Seq: 1}, Last: redisio.ID{Ms: 0, Seq: 3}, Keep: redisio.ID{Ms: 0, Seq: 4}}},
		"before all":  {TrimOptions{Before: redisio.ID{Ms: 0, Seq: 1}}, TrimPlan{Keep: redisio.ID{Ms: 0, Seq: 1}}},
		"length":      {TrimOptions{MaxLen: 7}, TrimPlan{Entries: 3, First: redisio.ID{Ms: 0, Seq: 1}, Last: redisio.ID{Ms: 0, Seq: 3}}},
		"long enough": {TrimOptions{MaxLen: 10}, TrimPlan{}},
	} {
		c.want.Length, c.o.Exact = 10, true
		plan, err := PlanTrim(rig.Ctx(t), rdb, key, c.o)
		if diff := cmp.Diff(c.want, plan); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	rig.GroupAt(t, rdb, key, "far", "0-9")
	rig.GroupAt(t, rdb, key, "g", "0-0")
	delivered := deliver(t, rdb, key, "g", "c", 6)
	if err := rdb.XAck(rig.Ctx(t), key, "g", delivered[:2]...).Err(); err != nil {
		t.Fatal(err)
	}
	want := TrimPlan{
		Length:  10,
		Groups:  2,
		Entries: 2,
		First:   redisio.ID{Ms: 0, Seq: 1},
		Last:    redisio.ID{Ms: 0, Seq: 2},
		Keep:    redisio.ID{Ms: 0, Seq: 3},
		Group:   "g",
	}
	plan, err := PlanTrim(rig.Ctx(t), rdb, key, TrimOptions{Before: redisio.ID{Ms: 0, Seq: 8}})
	if diff := cmp.Diff(want, plan); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if n, err := Trim(rig.Ctx(t), rdb, key, TrimOptions{Before: plan.Last.Next(), Exact: true}); n != 2 || err != nil {
		t.Errorf("%d dropped, %v", n, err)
	}
	if _, err := PlanTrim(rig.Ctx(t), rdb, key+":none", TrimOptions{}); err == nil {
		t.Error("a missing key has a plan")
	}
}

// Before Redis 7.2 no server reports whether a waiting consumer is alive, so reset does not guess.
func TestFault_D14_ResetRefusesWhatItCannotCheck(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	rig.Add(t, rdb, key, 3)
	reader, _ := readers.Open(t, rdb, reader.GroupConfig{Key: key})
	ids := rig.IDs(rig.Read(t, reader, 3))
	if _, err := reader.Ack(rig.Ctx(t), ids); err != nil {
		t.Fatal(err)
	}
	if g := onlyGroup(t, rdb, key); !g.Members[0].Uncertain {
		t.Skip("this server tells which consumers live")
	}
	for _, choice := range []PendingChoice{KeepPending, DropPending} {
		var live *LiveConsumersError
		_, err := Reset(
			rig.Ctx(t),
			rdb,
			key,
			"g",
			redisio.StartBeginning(),
			ResetOptions{Live: time.Millisecond, Pending: choice},
		)
		if !errors.As(err, &live) || len(live.Consumers) != 1 || !strings.Contains(err.Error(), "Force") {
			t.Errorf("under a live reader: %v", err)
		}
	}
	if answer := rdb.Eval(rig.Ctx(t), scriptReset, []string{key}, "g", 1, redisio.ReleasedConsumer,
		"0-0").String(); !strings.Contains(
		answer,
		reader.Consumer(),
	) {
		t.Errorf("the script: %s", answer)
	}
	if g := onlyGroup(t, rdb, key); g.Delivered != ids[2] {
		t.Errorf("refused, but the position is %s", g.Delivered)
	}
	if err := reader.Close(rig.Ctx(t)); err != nil { // its consumer goes with it
		t.Fatal(err)
	}
	if plan, err := Reset(rig.Ctx(t), rdb, key, "g", redisio.StartBeginning(), ResetOptions{}); err != nil ||
		plan.Again != 3 {
		t.Errorf("without readers: %+v %v", plan, err)
	}
}

// A position in the future would skip all entries until then.
func TestFault_D14_ResetNotIntoTheFuture(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	ids := rig.Add(t, rdb, key, 3)
	rig.GroupAt(t, rdb, key, "g", "0")
	for name, to := range map[string]redisio.Start{
		"an ID":           redisio.StartID(redisio.ID{Ms: uint64(time.Now().Add(time.Hour).UnixMilli())}),
		"in microseconds": redisio.StartID(redisio.ID{Ms: uint64(time.Now().UnixMicro())}),
		"a time":          redisio.StartTime(time.Now().Add(time.Hour)),
	} {
		if _, err := Reset(rig.Ctx(t), rdb, key, "g", to, ResetOptions{Force: true}); err == nil ||
			!strings.Contains(err.Error(), "future") {
			t.Errorf("%s: %v", name, err)
		}
	}
	last, _ := redisio.ParseID(ids[2])
	redistest.Soon(t, "the clock goes on", func() bool { return redisio.IDAt(time.Now()).Compare(last.Next()) > 0 })
	plan, err := Reset(rig.Ctx(t), rdb, key, "g", redisio.StartTime(time.Now()), ResetOptions{})
	if err != nil || plan.To != last || plan.Skipped != 3 {
		t.Errorf("a time behind the last entry: %+v %v", plan, err)
	}
	if added := rig.Add(t, rdb, key, 1); deliver(t, rdb, key, "g", "c", 9)[0] != added[0] {
		t.Error("the next entry was skipped")
	}
}

// A ticker reports that it cannot write because the last ID of its stream is in the future.
func TestFault_D13_TickerTellsThatItWaits(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	ahead := redisio.IDAt(time.Now().Add(time.Hour))
	if err := rdb.XAdd(rig.Ctx(t),
		&redis.XAddArgs{Stream: key, ID: ahead.String(), Values: []string{"data", "x"}}).Err(); err != nil {
		t.Fatal(err)
	}
	told := make(chan redisio.Event, 10)
	ticker, err := schedule.NewTicker(rdb, schedule.TickerConfig{Key: key, OnEvent: func(e redisio.Event) { told <- e },
		Next: func(after time.Time) time.Time {
			return after.Truncate(10 * time.Millisecond).Add(10 * time.Millisecond)
		},
		Fields: func(time.Time) redisio.Fields { return redisio.Fields{{Name: "data", Value: []byte("tick")}} }})
	if err != nil {
		t.Fatal(err)
	}
	k := ticker.Keep(nil)
	e := <-told
	if err := rdb.Del(rig.Ctx(t), key).Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(
		t,
		"it goes on when the key is deleted",
		func() bool { return rdb.Exists(rig.Ctx(t), key).Val() > 0 },
	)
	if err := k.Stop(); err != nil {
		t.Fatal(err)
	}
	if e.Kind != redisio.EventTickerWaits || e.Key != key || e.Wait < 59*time.Minute || e.Err == nil ||
		!strings.Contains(e.Kind.String(), "waits") {
		t.Errorf("%+v", e)
	}
	if len(told) > 0 {
		t.Errorf("told again at once: %+v", <-told)
	}
}

// A mover that fails repeatedly reports it.
func TestFault_D13_MoverTellsThatItFails(t *testing.T) {
	away := errors.New("no server")
	rdb := redis.NewClient(&redis.Options{Addr: "nowhere:1", MaxRetries: -1, DialerRetries: 1,
		Dialer: func(context.Context, string, string) (net.Conn, error) { return nil, away }})
	defer rdb.Close()
	told := make(chan redisio.Event, 10)
	s, err := schedule.New(rdb, schedule.Config{Key: "orders", OnEvent: func(e redisio.Event) { told <- e }})
	if err != nil {
		t.Fatal(err)
	}
	mover := s.Keep(nil)
	e := <-told
	if err := mover.Stop(); err != nil {
		t.Fatal(err)
	}
	if e.Kind != redisio.EventMoveFailed || !errors.Is(e.Err, away) || e.Wait <= 0 || e.Key != "orders" {
		t.Errorf("%+v", e)
	}
}
