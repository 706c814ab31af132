package held

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
)

// A ledger behaves like a map, whatever the order of operations.
func TestLedgerIsAMap(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var l Ledger
		l.Init()
		model := make(map[redisio.ID]int64)
		top := redisio.ID{Ms: 1000}
		for step := range 60 {
			switch rng.IntN(6) {
			case 0, 1: // a read
				for range rng.IntN(900) {
					if top = top.Next(); rng.IntN(50) == 0 {
						top = redisio.ID{Ms: top.Ms + rng.Uint64N(5) + 1}
					}
					l.put(top, int64(step))
					model[top] = int64(step)
				}
			case 2: // entries of before, and some from nowhere
				for range rng.IntN(60) {
					id := redisio.ID{Ms: 990 + rng.Uint64N(top.Ms-980), Seq: rng.Uint64N(20)}
					l.put(id, int64(step))
					model[id] = int64(step)
				}
			case 3, 4: // settling, in order or not, all or some
				ids := slices.SortedFunc(maps.Keys(model), redisio.ID.Compare)
				if rng.IntN(3) == 0 {
					rng.Shuffle(len(ids), func(i, k int) { ids[i], ids[k] = ids[k], ids[i] })
				}
				keep := rng.IntN(40)
				for i, id := range ids[:rng.IntN(len(ids)+1)] {
					if keep > 0 && i%keep == 0 {
						continue
					}
					l.delete(id)
					delete(model, id)
					if i%7 == 0 {
						l.delete(id) // once more does nothing
					}
				}
			case 5: // a renewal
				for id := range model {
					if rng.IntN(4) == 0 {
						l.put(id, int64(step))
						model[id] = int64(step)
					}
				}
			}
			check(t, &l, model, int64(step-3))
			if t.Failed() {
				t.Fatalf("run %d, step %d", seed, step)
			}
		}
	}
}

func check(t *testing.T, l *Ledger, model map[redisio.ID]int64, before int64) {
	t.Helper()
	var want []redisio.ID
	for id, at := range model {
		if got, ok := l.get(id); !ok || got != at {
			t.Errorf("%v is held since %d: got %d, %v", id, at, got, ok)
			return
		}
		if at <= before {
			want = append(want, id)
		}
		if _, ok := model[id.Next()]; !ok {
			if _, ok := l.get(id.Next()); ok {
				t.Errorf("%v is held, but it was never put there", id.Next())
			}
		}
	}
	slices.SortFunc(want, redisio.ID.Compare)
	if diff := cmp.Diff(want, l.Stale(before)); diff != "" {
		t.Errorf("stale (-want +got):\n%s", diff)
	}
	if l.n != len(model) {
		t.Errorf("%d ids, want %d", l.n, len(model))
	}
	if slots := l.written(); slots != l.slots || slots > 4*l.n+5*runSize {
		t.Errorf("%d slots, counted as %d, for %d ids", slots, l.slots, l.n)
	}
}

func (l *Ledger) written() (slots int) {
	for _, r := range l.runs {
		slots += len(r.slots)
	}
	return slots
}

// Entries that are held for long do not retain the memory of entries settled meanwhile.
func TestLedgerPacks(t *testing.T) {
	var l Ledger
	l.Init()
	var want []redisio.ID
	for i := range uint64(200_000) {
		id := redisio.ID{Ms: 1 + i/10, Seq: i % 10}
		l.put(id, 1)
		if i%runSize == 0 {
			want = append(want, id)
		} else {
			l.delete(id)
		}
	}
	if diff := cmp.Diff(want, l.Stale(1)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if most := 4*len(want) + 5*runSize; l.slots > most || l.written() != l.slots {
		t.Errorf("%d slots, counted as %d, for %d ids", l.written(), l.slots, len(want))
	}
	for _, id := range want {
		l.delete(id)
	}
	if l.n != 0 || len(l.runs) != 0 || l.slots != 0 {
		t.Errorf("%d ids, %d runs, %d slots are left", l.n, len(l.runs), l.slots)
	}
}

// BenchmarkHeld holds and settles entries, 1000 at a time, with four thousand in flight.
func BenchmarkHeld(b *testing.B) {
	const size, ahead = 1000, 4
	var reads [64][]redisio.Entry
	for i := range reads {
		reads[i] = make([]redisio.Entry, size)
	}
	for _, order := range []string{"in order", "nearly", "shuffled"} {
		rng := rand.New(rand.NewPCG(1, 1))
		for i := range reads {
			for k := range reads[i] {
				n := uint64(i*size + k)
				id := redisio.ID{Ms: 1732360000000 + n/50, Seq: n % 50}
				reads[i][k] = redisio.Entry{ID: id.String(), Position: id}
			}
		}
		var acks [len(reads)][]string
		for i := range acks {
			acks[i] = rig.IDs(reads[i])
			swap := func(j, k int) { acks[i][j], acks[i][k] = acks[i][k], acks[i][j] }
			switch order {
			case "nearly":
				for k := 0; k+8 < size; k += 5 {
					swap(k, k+rng.IntN(8))
				}
			case "shuffled":
				rng.Shuffle(size, swap)
			}
		}
		b.Run(order, func(b *testing.B) {
			var add, remove time.Duration
			n := 0
			for b.Loop() {
				var h Set
				h.Init()
				now := time.Now()
				for i := range len(reads) + ahead {
					start := time.Now()
					if i < len(reads) {
						h.Add(reads[i], now)
					}
					mid := time.Now()
					if i >= ahead {
						h.Move(acks[i-ahead], Settled)
					}
					add, remove = add+mid.Sub(start), remove+time.Since(mid)
				}
				if h.Count() != 0 {
					b.Fatal(fmt.Sprint(h.Count(), " are left"))
				}
				n += len(reads) * size
			}
			b.ReportMetric(float64(add.Nanoseconds())/float64(n), "add-ns")
			b.ReportMetric(float64(remove.Nanoseconds())/float64(n), "remove-ns")
		})
	}
}
