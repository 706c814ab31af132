package source

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// A Commit that failed in part is called again with the same settlements. Entries that it gave back
// the first time may be in progress again by then, and must not be given back twice.
func TestCommitTwice(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	ctx, key := t.Context(), redistest.Key(t)
	for range 4 {
		rdb.XAdd(ctx, redistest.Entry(key, "data", "x"))
	}
	cfg := StreamConfig[string]{
		Key:    key,
		Group:  "g",
		Tuning: reader.Tuning{Lease: time.Minute, Block: 20 * time.Millisecond},
	}
	p := cfg.plan(rdb)
	r, err := reader.NewGroup(rdb, p.group)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Open(ctx); err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.Background())
	read := func(n int) (metas []*flow.Meta) {
		t.Helper()
		for len(metas) < n {
			var b redisio.Batch
			if err := r.Read(ctx, n-len(metas), 0, &b); err != nil {
				t.Fatal(err)
			}
			for _, e := range b.Entries {
				metas = append(metas, &flow.Meta{ID: e.ID, Attempt: int(e.Deliveries)})
			}
		}
		return metas
	}
	m := read(4)
	fault := &flow.Fault{Err: context.Canceled}
	settled := []flow.Settlement{
		{Seq: 0, ID: m[0].ID, Attempt: m[0].Attempt, Outcome: flow.Acked},
		{Seq: 1, ID: m[1].ID, Attempt: m[1].Attempt, Outcome: flow.Dead, Fault: fault},
		{Seq: 2, ID: m[2].ID, Attempt: m[2].Attempt, Outcome: flow.Nacked, Fault: fault},
	}
	rdb.Set(ctx, p.deadKey, "in the way", 0)
	s := settler{r: r, plan: p}
	if err := s.Commit(ctx, settled); err == nil {
		t.Fatal("no error while the dead-letter key is of the wrong type")
	}
	again := read(1)[0]
	if again.ID != m[2].ID || again.Attempt != 2 {
		t.Fatalf("delivered again: %+v, want %s", again, m[2].ID)
	}
	rdb.Del(ctx, p.deadKey)
	// The fourth is given back unfinished.
	settled = append(settled, flow.Settlement{Seq: 3, ID: m[3].ID, Attempt: m[3].Attempt, Outcome: flow.Nacked})
	if err := s.Commit(ctx, settled); err != nil {
		t.Fatal(err)
	}
	if held, parked := r.Held(), r.Parked(); held != 1 || parked != 1 {
		t.Errorf("%d held and %d given back, want 1 and 1: the nack was done twice", held, parked)
	}
	if n := rdb.XLen(ctx, p.deadKey).Val(); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
	// The next life of the same entry is settled like any other.
	settled = []flow.Settlement{
		{Seq: 4, ID: again.ID, Outcome: flow.Acked}, {Seq: 5, ID: read(1)[0].ID, Outcome: flow.Dropped},
	}
	if err := s.Commit(ctx, settled); err != nil {
		t.Fatal(err)
	}
	if n := rdb.XPending(ctx, key, "g").Val().Count; n != 0 {
		t.Errorf("%d pending", n)
	}
}

func TestDeadKeySharesTheSlot(t *testing.T) {
	for _, test := range []struct{ key, plain, cluster string }{
		{"orders", "orders:dead", "{orders}:dead"},
		{"{orders}:1", "{orders}:1:dead", "{orders}:1:dead"},
		{"a{b", "a{b:dead", "{a{b}:dead"},
		{"a}b", "a}b:dead", ""},
		{"{}a", "{}a:dead", ""},
	} {
		if got := deadKey(test.key, false); got != test.plain {
			t.Errorf("%q: %q, want %q", test.key, got, test.plain)
		}
		if got := deadKey(test.key, true); got != test.cluster {
			t.Errorf("%q in a cluster: %q, want %q", test.key, got, test.cluster)
		}
	}
}

// The log entry about dead letters contains the reason for the first of them.
func TestFault_O3_DeadLettersSayWhy(t *testing.T) {
	s := settler{plan: &streamPlan{}}
	fault := &flow.Fault{Graph: "shop", Stage: "price", Err: errors.New("no such article")}
	s.sort([]flow.Settlement{
		{ID: "1-0", Attempt: 3, Outcome: flow.Dead, Fault: fault},
		{ID: "2-0", Outcome: flow.Dead},
	})
	if s.why.ID != "1-0" || s.why.Stage != "price" || s.why.Attempts != 3 || s.why.Error != "no such article" {
		t.Errorf("%+v", s.why)
	}
}
