package reader

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestLostGroupPolicies(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	lost := func(t *testing.T, policy LostGroup) (*Group, *rig.Log, []string) {
		key := redistest.Key(t)
		all := rig.Add(t, rdb, key, 4)
		r, l := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{OnLostGroup: policy}})
		if n, err := r.Ack(rig.Ctx(t), rig.IDs(rig.Read(t, r, 2))); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		rdb.XGroupDestroy(rig.Ctx(t), key, "g")
		return r, l, all
	}
	t.Run("resume", func(t *testing.T) {
		r, l, all := lost(t, LostGroupResume)
		if got := rig.IDs(rig.Read(t, r, 2)); !slices.Equal(got, all[2:]) ||
			l.Times(redisio.EventGroupRecreated) != 1 ||
			r.Stats().Recreated != 1 {
			t.Fatalf("got %v, want %v; %+v", got, all[2:], r.Stats())
		}
	})
	t.Run("earliest", func(t *testing.T) {
		r, _, all := lost(t, LostGroupEarliest)
		if got := rig.IDs(rig.Read(t, r, 4)); !slices.Equal(got, all) {
			t.Fatalf("got %v, want %v", got, all)
		}
	})
	t.Run("latest", func(t *testing.T) {
		r, l, _ := lost(t, LostGroupLatest)
		redistest.Soon(t, "the group is made again", func() bool {
			readNothing(t, r, 200*time.Millisecond)
			return l.Times(redisio.EventGroupRecreated) == 1
		})
		want := rig.Add(t, rdb, r.cfg.Key, 1)
		if got := rig.IDs(rig.Read(t, r, 1)); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
	t.Run("fail", func(t *testing.T) {
		r, l, all := lost(t, LostGroupFail)
		var b redisio.Batch
		var gone *GroupLostError
		err := r.Read(rig.Ctx(t), 1, 0, &b)
		if !errors.As(err, &gone) || gone.Position != all[1] || gone.StreamGone || !redisio.IsPermanent(err) {
			t.Fatalf("got %v", err)
		}
		if err := r.Nack(rig.Ctx(t), all[:1], 0); !errors.As(err, &gone) || !redisio.IsPermanent(err) {
			t.Fatalf("nack: %v", err)
		}
		rdb.Del(rig.Ctx(t), r.cfg.Key)
		if err := r.Read(rig.Ctx(t), 1, 0, &b); !errors.As(err, &gone) || !gone.StreamGone {
			t.Fatalf("got %v", err)
		}
		if l.Times(redisio.EventGroupRecreated) != 0 || rdb.Exists(rig.Ctx(t), r.cfg.Key).Val() != 0 {
			t.Fatal("made again")
		}
		if err := r.Close(rig.Ctx(t)); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("says that the stream was gone", func(t *testing.T) {
		r, l, _ := lost(t, LostGroupResume)
		rdb.Del(rig.Ctx(t), r.cfg.Key)
		rig.Add(t, rdb, r.cfg.Key, 1)
		rig.Read(t, r, 1)
		l.Mu.Lock()
		defer l.Mu.Unlock()
		if i := slices.IndexFunc(l.Events,
			func(e redisio.Event) bool { return e.Kind == redisio.EventGroupRecreated }); i < 0 ||
			!l.Events[i].StreamGone {
			t.Fatalf("events %+v", l.Events)
		}
	})
}

// A reader that received nothing does not return to the position at which it was opened.
func TestIdleReaderHealsWhereTheGroupWas(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	idle, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{Lease: 300 * time.Millisecond}})
	busy, _ := open(t, rdb, GroupConfig{Key: key})
	all := rig.Add(t, rdb, key, 5)
	if _, err := busy.Ack(rig.Ctx(t), rig.IDs(rig.Read(t, busy, 5))); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "the position is learnt", func() bool { return idle.last.get().String() == all[4] })
	rdb.XGroupDestroy(rig.Ctx(t), key, "g")
	want := rig.Add(t, rdb, key, 1)
	if got := rig.IDs(rig.Read(t, idle, 1)); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}
