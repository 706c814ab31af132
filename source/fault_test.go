package source_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// deliveries returns the server's delivery counts of the pending entries.
func (s *stand) deliveries(t testing.TB) map[string]int64 {
	t.Helper()
	counts := make(map[string]int64)
	for p, err := range admin.PendingEntries(context.Background(), s.rdb, s.key, "g", "") {
		if err != nil {
			t.Fatal(err)
		}
		counts[p.ID] = p.Deliveries
	}
	return counts
}

// 30 entries, a slow handler and 16 graceful restarts: each life handles one entry, and the others
// wait behind it. Their deliveries do not count, so none of them is a dead letter at the end.
func TestFault_D1_RestartsDoNotCountDeliveries(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	s.fill(t, 30)
	for life := range 16 {
		begun, release := make(chan string, 1), make(chan struct{})
		cfg := config[string](s)
		cfg.MaxDeliveries = 3
		src := source.Stream(s.rdb, cfg)
		slow := operators.MapMessage(src, func(_ context.Context, m flow.Message[string]) (string, error) {
			if m.Attempt() != 1 {
				t.Errorf("life %d: %s comes as delivery %d", life, m.ID(), m.Attempt())
			}
			begun <- m.ID()
			<-release
			return m.Value, nil
		}, flow.Traits{Holds: 30, HoldsFor: time.Hour}) // so that all 30 are read at once
		r := start(t, flow.To(slow, sink.Discard[string]()))
		<-begun
		redistest.Soon(t, "all are read", func() bool { return r.Snapshot(t.Context()).Sources[0].InFlight == 30-life })
		drained := make(chan flow.DrainReport, 1)
		go func() {
			report, _ := r.Drain(context.Background())
			drained <- report
		}()
		redistest.Soon(
			t,
			"the rest is given back",
			func() bool { return r.Snapshot(t.Context()).Sources[0].InFlight == 1 },
		)
		close(release)
		report, back := <-drained, uint64(29-life)
		// An entry that is read again while the drain begins goes back twice.
		if report.Settled != 1 || report.Released < back || report.Unbegun != report.Released {
			t.Fatalf("life %d: report %+v", life, report)
		}
	}
	if dead := s.rdb.XLen(t.Context(), s.key+":dead").Val(); dead > 0 {
		t.Errorf("%d dead letters", dead)
	}
	counts := s.deliveries(t)
	for id, n := range counts {
		if n != 0 {
			t.Errorf("%s counts as delivered %d times", id, n)
		}
	}
	if len(counts) != 14 {
		t.Errorf("%d are left, want 14", len(counts))
	}
}

// At a clean end the messages that a batch holds are handled. If the end is cut short, their
// delivery is not counted.
func TestFault_D1_BatchAtTheEnd(t *testing.T) {
	s := newStand(t)
	s.fill(t, 30)
	t.Run("stopped", func(t *testing.T) {
		batches := operators.Batch(source.Stream(s.rdb, config[string](s)), 100, time.Hour)
		r := start(t, flow.To(batches, sink.Discard[[]string]()))
		redistest.Soon(t, "all are held", func() bool { return r.Snapshot(t.Context()).Sources[0].InFlight == 30 })
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
		if report := r.Report(); report.Settled != 0 || report.Released != 30 || report.Unbegun != 30 {
			t.Errorf("report %+v", report)
		}
		counts := s.deliveries(t)
		for id, n := range counts {
			if n != 0 {
				t.Errorf("%s counts as delivered %d times", id, n)
			}
		}
		if len(counts) != 30 {
			t.Errorf("%d are pending", len(counts))
		}
	})
	t.Run("drained", func(t *testing.T) {
		var box inbox[[]string]
		r := start(t, flow.To(operators.Batch(source.Stream(s.rdb, config[string](s)), 100, time.Hour), box.sink()))
		redistest.Soon(t, "all are held", func() bool { return r.Snapshot(t.Context()).Sources[0].InFlight == 30 })
		report, err := r.Drain(t.Context())
		if err != nil || report.Settled != 30 || report.Released != 0 {
			t.Errorf("%v, report %+v", err, report)
		}
		if got := box.values(); len(got) != 1 || len(got[0]) != 30 {
			t.Errorf("got %v", got)
		}
		s.wantSettled(t)
	})
}

// Reader A reads far more than it can handle and ends. Reader B, which was idle, then gets all
// remaining entries at once.
func TestFault_D4_DrainHandsTheRestToAnother(t *testing.T) {
	s := newStand(t)
	want := s.fill(t, 600)
	release := make(chan struct{})
	begun := make(chan struct{}, 1)
	var boxA, boxB inbox[string]
	slow := operators.Map(source.Stream(s.rdb, config[string](s)), func(_ context.Context, v string) (string, error) {
		select {
		case begun <- struct{}{}:
		default:
		}
		<-release
		return v, nil
	}, flow.Traits{Holds: 600, HoldsFor: time.Hour}) // so that all are read at once
	a := start(t, flow.To(slow, boxA.sink()))
	<-begun
	redistest.Soon(t, "all are read", func() bool { return a.Snapshot(t.Context()).Sources[0].InFlight == 600 })
	cfg := config[string](s)
	b := start(t, flow.To(source.Stream(s.rdb, cfg), boxB.sink()))
	drained := make(chan error, 1)
	go func() {
		_, err := a.Drain(context.Background())
		drained <- err
	}()
	redistest.Soon(t, "B has all but what A has begun", func() bool { return boxB.count() == 599 })
	for _, m := range boxB.msgs {
		if m.Attempt() != 1 {
			t.Fatalf("entry %s comes as delivery %d", m.ID(), m.Attempt())
		}
	}
	close(release)
	if err := <-drained; err != nil {
		t.Error(err)
	}
	drain(t, b)
	s.wantSettled(t)
	got := append(boxA.values(), boxB.values()...)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d values, want each of %d once", len(got), len(want))
	}
}

// Readers of a group with the default credits, and a backlog that any one of them could read at
// once: their shares are within a factor of two.
func TestFault_D15_SharesAreFair(t *testing.T) {
	var shares []int
	for range 10 { // a pause of one reader makes a run unfair, but not each run
		if shares = sharesOf(t, 4, 240); slices.Max(shares) <= 2*slices.Min(shares) {
			return
		}
	}
	t.Errorf("shares %v", shares)
}

// sharesOf returns how many of the entries each of some readers has handled.
func sharesOf(t *testing.T, readers, entries int) []int {
	s := newStand(t)
	s.fill(t, entries)
	var mu sync.Mutex
	shares, left, done := make([]int, readers), entries, make(chan struct{})
	var runs []*flow.Running
	for i := range readers {
		handled := operators.Map(
			source.Stream(s.rdb, config[string](s)),
			func(_ context.Context, v string) (string, error) {
				time.Sleep(5 * time.Millisecond) // this is the work
				mu.Lock()
				defer mu.Unlock()
				shares[i]++
				if left--; left == 0 {
					close(done)
				}
				return v, nil
			},
		)
		runs = append(runs, start(t, flow.To(handled, sink.Discard[string]())))
	}
	<-done
	for _, r := range runs {
		drain(t, r)
	}
	return shares
}
