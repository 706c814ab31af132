package reader

import (
	"cmp"
	"slices"
	"testing"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// readUpTo reads up to count entries.
func readUpTo(t testing.TB, r *Group, count int) []redisio.Entry {
	t.Helper()
	var b redisio.Batch
	if err := r.Read(rig.Ctx(t), count, 0, &b); err != nil {
		t.Fatal(err)
	}
	return b.Entries
}

// settle waits until the read that was sent ahead has returned.
func settle(t testing.TB, r *Group) {
	t.Helper()
	if err := r.enter(rig.Ctx(t)); err != nil {
		t.Fatal(err)
	}
	r.leave()
}

func TestReadAhead(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	want := rig.Add(t, rdb, key, 45)
	r, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{MaxCount: 10}})
	r.poolAt, r.reclaimAt = never, never // no read is sent ahead while another duty is due
	var got []string
	for _, step := range []struct{ count, returned, held int }{
		{19, 10, 10}, // not twice a reply
		{20, 10, 30},
		{4, 4, 30},  // a part of what was read ahead
		{20, 6, 40}, // the rest
		{20, 10, 45},
		{20, 5, 45}, // not a full reply
	} {
		entries := readUpTo(t, r, step.count)
		settle(t, r)
		if len(entries) != step.returned || r.Held() != step.held {
			t.Fatalf("read of %d: %d entries, %d held, want %+v", step.count, len(entries), r.Held(), step)
		}
		got = append(got, rig.IDs(entries)...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if n, err := r.Ack(rig.Ctx(t), got); n != len(want) || err != nil {
		t.Errorf("acked %d, %v", n, err)
	}
}

// Entries that were read ahead go back, as if they had not been delivered.
func TestReadAheadGivesBack(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, r *Group) error{
		"unread": func(t *testing.T, r *Group) error { return cmp.Or(r.Unread(rig.Ctx(t)), r.Unread(rig.Ctx(t))) },
		"close":  func(t *testing.T, r *Group) error { return r.Close(rig.Ctx(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
			want := rig.Add(t, rdb, key, 20)
			first, _ := open(t, rdb, GroupConfig{Key: key, Tuning: Tuning{MaxCount: 10}})
			done := rig.IDs(readUpTo(t, first, 20))
			if _, err := first.Ack(rig.Ctx(t), done); err != nil {
				t.Fatal(err)
			}
			if err := end(t, first); err != nil {
				t.Fatal(err)
			}
			if n := first.Held(); n != 0 && name != "close" {
				t.Fatalf("%d held", n)
			}
			second, _ := open(t, rdb, GroupConfig{Key: key})
			for _, e := range rig.Read(t, second, 10) {
				if e.Deliveries != 1 {
					t.Errorf("%s: delivery %d", e.ID, e.Deliveries)
				}
				done = append(done, e.ID)
			}
			slices.Sort(want)
			if slices.Sort(done); !slices.Equal(done, want) {
				t.Errorf("got %v, want %v", done, want)
			}
		})
	}
}

// A reply to a read that was sent ahead is lost.
func TestReadAheadRecovers(t *testing.T) {
	for _, how := range []redistest.Cut{redistest.CutRequest, redistest.CutReply, redistest.CutHalfReply} {
		t.Run(how.String(), func(t *testing.T) {
			s, key := redistest.Shared(t), redistest.Key(t)
			want := rig.Add(t, s.Client(t), key, 40)
			p := redistest.StartProxy(t, s.Addr())
			r, _ := open(t, p.Client(t), GroupConfig{Key: key, Tuning: Tuning{MaxCount: 10}})
			got := rig.IDs(readUpTo(t, r, 10))
			p.Cut(how, "xreadgroup", 1)
			for len(got) < len(want) {
				entries := readUpTo(t, r, 20)
				got = append(got, rig.IDs(entries)...)
			}
			slices.Sort(want)
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if n, err := r.Ack(rig.Ctx(t), got); n != len(want) || err != nil {
				t.Errorf("acked %d, %v", n, err)
			}
		})
	}
}

// Reading and acking allocates per reply, not per entry.
func TestReadAckAllocations(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	const runs, size = 20, 1000
	rig.Add(t, rdb, key, (runs+3)*size)
	r, _ := open(t, rdb, GroupConfig{Key: key})
	ids := make([]string, 0, size)
	n := testing.AllocsPerRun(runs, func() {
		entries := readUpTo(t, r, 2*size)
		ids = ids[:0]
		for i := range entries {
			ids = append(ids, entries[i].ID)
		}
		if acked, err := r.Ack(rig.Ctx(t), ids); acked != size || err != nil {
			t.Fatalf("acked %d, %v", acked, err)
		}
	})
	if n > size/10 {
		t.Errorf("%v allocations for %d entries", n, size)
	}
}
