package gather_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/redisio/gather"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// The stream of parts lives as long as any gather with parts in it, also if a shorter gather sends
// later.
func TestPartsOutliveTheirGather(t *testing.T) {
	s, rdb := shared(t, gather.Config{})
	const month = 30 * 24 * time.Hour
	for id, within := range map[string]time.Duration{"long": month, "short": time.Hour} {
		open(t, s, id, gather.Terms{Parts: 1, Within: within})
	}
	for _, id := range []string{"long", "short"} {
		if _, err := s.Send(rig.Ctx(t), id, 0, "", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if ttl := rdb.PTTL(rig.Ctx(t), s.Config().Parts()).Val(); ttl < month {
			t.Errorf("after parts of %s, the stream expires in %v", id, ttl)
		}
	}
}

// A failover may lose the last writes of the server. States tells that parts must be sent again.
func TestStatesAfterLostWrites(t *testing.T) {
	s, rdb := shared(t, gather.Config{})
	open(t, s, "g", gather.Terms{Parts: 2})
	if _, err := s.Send(rig.Ctx(t), "g", 0, "", []byte("a"), []byte("b")); err != nil {
		t.Fatal(err)
	}
	state := func(want gather.State) {
		t.Helper()
		got, err := s.States(rig.Ctx(t), "g")
		if diff := cmp.Diff([]gather.State{want}, got); diff != "" || err != nil {
			t.Error(err, diff)
		}
	}
	state(gather.Open)
	rdb.HSet(rig.Ctx(t), s.Config().Key("g"), "sent", 1)
	state(gather.Sending)
	if _, err := s.Send(rig.Ctx(t), "g", 1, "", []byte("b")); err != nil {
		t.Fatal(err)
	}
	state(gather.Open)
}

// A server without memory for writes still drops late parts and returns what has come.
func TestGatherWithoutMemory(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client(t)
	s := newStore(t, rdb, gather.Config{Patience: -1})
	limit := func(bytes string) {
		t.Helper()
		if err := rdb.ConfigSet(rig.Ctx(t), "maxmemory", bytes).Err(); err != nil {
			t.Fatal(err)
		}
	}
	open(t, s, "g", gather.Terms{Parts: 2})
	put(t, s, "g", 0, "a")
	limit("1")
	if wanted, _, err := s.Begin(rig.Ctx(t), "g", 1); !wanted || err != nil {
		t.Errorf("a part in time: %v %v", wanted, err)
	}
	limit("0")
	elapse(t, rdb, s, "g")
	limit("1")
	if _, _, err := s.Begin(rig.Ctx(t), "g", 1); !errors.Is(err, gather.ErrOver) {
		t.Errorf("a late part: %v", err)
	}
	if _, err := s.Put(rig.Ctx(t), "g", 1, true, nil); !errors.Is(err, gather.ErrOver) {
		t.Errorf("a late result: %v", err)
	}
	if o := take(t, s, "g"); o == nil || o.How != gather.Expired || o.Done != 1 || !o.Parts[0].OK {
		t.Errorf("%+v", o)
	}
}

// The results of a large gather come in several replies.
func TestGatherLarge(t *testing.T) {
	s, rdb := shared(t, gather.Config{})
	const parts = 1500
	open(t, s, "g", gather.Terms{Parts: parts})
	values := []any{"done", parts - 2}
	for i := range parts - 1 {
		values = append(values, fmt.Sprint("p", i), fmt.Sprint("1", i))
	}
	if err := rdb.HSet(rig.Ctx(t), s.Config().Key("g"), values...).Err(); err != nil {
		t.Fatal(err)
	}
	put(t, s, "g", parts-1, "!failed")
	o := take(t, s, "g")
	if o == nil || o.How != gather.Failed || len(o.Parts) != parts || o.Failed != 1 || o.Parts[parts-1].OK {
		t.Fatalf("%+v", o)
	}
	for i, p := range o.Parts[:parts-1] {
		if !p.OK || string(p.Data) != fmt.Sprint(i) {
			t.Fatalf("part %d: %+v", i, p)
		}
	}
	if ttl := rdb.PTTL(rig.Ctx(t), s.Config().Key("g")).Val(); ttl > s.Config().Keep {
		t.Errorf("it is kept for %v", ttl)
	}
}

// More parts than the gather has are not sent.
func TestGatherSendsTooMany(t *testing.T) {
	s, rdb := shared(t, gather.Config{})
	open(t, s, "g", gather.Terms{Parts: 1})
	if sent, err := s.Send(rig.Ctx(t), "g", 0, "", []byte("a"), []byte("b")); err == nil {
		t.Errorf("%d of 1 part were sent", sent)
	}
	if n := rdb.XLen(rig.Ctx(t), s.Config().Parts()).Val(); n != 0 {
		t.Errorf("%d parts in the stream", n)
	}
}

// The marks of a stream do not expire while a reader looks for its end.
func TestEndKeepsMarks(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	key := redistest.Key(t)
	e, err := gather.NewEnd(rdb, gather.EndConfig{Key: key, Producers: 2, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Mark(rig.Ctx(t), "a"); err != nil {
		t.Fatal(err)
	}
	marks := "{" + key + "}:end"
	for _, ttl := range []time.Duration{time.Minute, 48 * time.Hour} {
		rdb.PExpire(rig.Ctx(t), marks, ttl)
		if _, err := e.Reached(rig.Ctx(t), "g"); err != nil {
			t.Fatal(err)
		}
		if left := rdb.PTTL(rig.Ctx(t), marks).Val(); left < max(ttl, time.Hour)-time.Minute {
			t.Errorf("with %v left, the marks expire in %v", ttl, left)
		}
	}
}

// Delete deletes the whole barrier at once, so that a process that dies leaves no half of it.
func TestBarrierDeletedAtOnce(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Shared(t).Addr())
	cfg := gather.BarrierConfig{Name: redistest.Key(t), Expect: 1, Patience: -1}
	b, err := gather.NewBarrier(p.Client(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Arrive(rig.Ctx(t), "a"); err != nil {
		t.Fatal(err)
	}
	p.Cut(redistest.CutReply, "del", 1) // and the process dies
	_ = b.Delete(rig.Ctx(t))
	n := redistest.Shared(t).Client(t).Exists(rig.Ctx(t), "{"+cfg.Name+"}:arrived", "{"+cfg.Name+"}:reached").Val()
	if n != 0 {
		t.Errorf("%d of its two keys are left", n)
	}
}
