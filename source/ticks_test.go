package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestTicksValidate(t *testing.T) {
	var r rig[Tick]
	err := r.graph(Ticks(nil, TicksConfig{
		Missed: 2000, MaxLen: -1, Tuning: reader.Tuning{Lease: -1}, MaxInFlight: -1,
	})).Validate()
	var got []string
	for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
		var e *flow.BuildError
		if errors.As(err, &e) {
			got = append(got, e.Field)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"Group", "Key", "Lease", "MaxInFlight", "MaxLen", "Missed", "Next", "rdb"},
		got); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}

// every returns a function that finds the multiples of d.
func every(d time.Duration) func(time.Time) time.Time {
	return func(after time.Time) time.Time { return after.Truncate(d).Add(d) }
}

// ticks records the ticks that several sources received.
type ticks struct {
	mu   sync.Mutex
	seen map[int64]int
}

func (s *ticks) add(_ context.Context, tick Tick) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[tick.Time.UnixMilli()]++
	return nil
}

func (s *ticks) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

func TestTicksOncePerCluster(t *testing.T) {
	t.Parallel()
	srv := redistest.Shared(t)
	key := redistest.Key(t)
	all := &ticks{seen: make(map[int64]int)}
	var runs []*flow.Running
	for range 3 {
		r := &rig[Tick]{on: all.add}
		runs = append(
			runs,
			start(
				t,
				r.graph(
					Ticks(
						srv.Client(t),
						TicksConfig{
							Next:   every(100 * time.Millisecond),
							Key:    key,
							Group:  "g",
							Tuning: reader.Tuning{Block: 50 * time.Millisecond},
						},
					),
				),
			),
		)
	}
	redistest.Soon(t, "ticks come", func() bool { return all.count() >= 12 })
	for _, r := range runs {
		drain(t, r)
	}
	rdb := srv.Client(t)
	groups, err := rdb.XInfoGroups(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	// Later entries are ticks that one source wrote after the others had read their last.
	entries, err := rdb.XRange(t.Context(), key, "-", groups[0].LastDeliveredID).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		var ms int64
		if _, err := fmt.Sscanf(e.ID, "%d-0", &ms); err != nil || !strings.HasSuffix(e.ID, "-0") || ms%100 != 0 {
			t.Errorf("entry %s is no tick", e.ID)
		}
		if n := all.seen[ms]; n != 1 {
			t.Errorf("tick %s was handled %d times", e.ID, n)
		}
	}
	if len(entries) != all.count() {
		t.Errorf("%d entries, %d ticks", len(entries), all.count())
	}
	if p, err := rdb.XPending(t.Context(), key, "g").Result(); err != nil || p.Count != 0 {
		t.Errorf("pending: %+v, %v", p, err)
	}
}

func TestTicksOfAFailedHandlerComesAgain(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	key := redistest.Key(t)
	var mu sync.Mutex
	tries := make(map[time.Time]int)
	failed := time.Time{}
	r := &rig[Tick]{on: func(_ context.Context, tick Tick) error {
		mu.Lock()
		defer mu.Unlock()
		tries[tick.Time]++
		if failed.IsZero() {
			failed = tick.Time
			return flow.RetryAfter(time.Millisecond, errors.New("not now"))
		}
		return nil
	}}
	run := start(
		t,
		r.graph(
			Ticks(
				rdb,
				TicksConfig{
					Next:   every(200 * time.Millisecond),
					Key:    key,
					Group:  "g",
					Tuning: reader.Tuning{Block: 50 * time.Millisecond},
				},
			),
		),
	)
	redistest.Soon(
		t,
		"it comes again",
		func() bool { mu.Lock(); defer mu.Unlock(); return !failed.IsZero() && tries[failed] == 2 },
	)
	drain(t, run)
}

func TestTicksMissed(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	for missed, want := range map[int]int{0: 1, 3: 3, -1: 0} {
		t.Run(fmt.Sprint(missed), func(t *testing.T) {
			key := redistest.Key(t)
			// There is a tick each hour, the latest half an hour ago, so no tick is due during the
			// test. The last in the stream was ten hours before the latest.
			latest := time.Now().Truncate(time.Millisecond).Add(-30 * time.Minute)
			phase := latest.Sub(latest.Truncate(time.Hour))
			hourly := func(after time.Time) time.Time { return every(time.Hour)(after.Add(-phase)).Add(phase) }
			last := latest.Add(-10 * time.Hour)
			if err := rdb.Do(t.Context(), "xadd", key, fmt.Sprintf("%d-0", last.UnixMilli()), "data", `{"time":"2020-01-01T00:00:00Z"}`).Err(); err != nil {
				t.Fatal(err)
			}
			r := &rig[Tick]{}
			run := start(
				t,
				r.graph(
					Ticks(
						rdb,
						TicksConfig{
							Next:     hourly,
							Key:      key,
							Group:    "g",
							Missed:   missed,
							Tuning:   reader.Tuning{Block: 50 * time.Millisecond},
							Location: time.FixedZone("X", 3600),
						},
					),
				),
			)
			redistest.Soon(t, "the missed ticks come", func() bool { return len(r.got()) >= want })
			redistest.Soon(
				t,
				"the ticker has looked",
				func() bool { return rdb.XInfoGroups(t.Context(), key).Err() == nil },
			)
			drain(t, run)
			got := r.got()
			if len(got) != want {
				t.Errorf("%d ticks, want %d", len(got), want)
			}
			for i, tick := range got {
				if d := latest.Add(-time.Duration(want-1-i) * time.Hour); !tick.Time.Equal(d) {
					t.Errorf("tick %d is %v, want %v", i, tick.Time, d)
				}
				if tick.Time.Location().String() != "X" {
					t.Errorf("in zone %v", tick.Time.Location())
				}
			}
		})
	}
}

func TestTicksSurvivesItsServer(t *testing.T) {
	srv := redistest.Start(t)
	r := &rig[Tick]{}
	run := start(
		t,
		r.graph(
			Ticks(
				srv.Client(t),
				TicksConfig{
					Next:   every(50 * time.Millisecond),
					Key:    "ticks",
					Group:  "g",
					Tuning: reader.Tuning{Block: 50 * time.Millisecond},
				},
			),
		),
	)
	redistest.Soon(t, "ticks come", func() bool { return len(r.got()) > 2 })
	srv.Restart(t) // and has lost all data
	n := len(r.got())
	redistest.Soon(t, "ticks come again", func() bool { return len(r.got()) > n+2 })
	drain(t, run)
}

func TestTicksOfWrongTypeStops(t *testing.T) {
	srv := redistest.Shared(t)
	rdb, key := srv.Client(t), redistest.Key(t)
	r := &rig[Tick]{}
	run := start(
		t,
		r.graph(
			Ticks(
				rdb,
				TicksConfig{
					Next:   every(50 * time.Millisecond),
					Key:    key,
					Group:  "g",
					Tuning: reader.Tuning{Block: 50 * time.Millisecond},
				},
			),
			flow.AckTimeout(50*time.Millisecond), // the last ack fails as well
		),
	)
	redistest.Soon(t, "ticks come", func() bool { return len(r.got()) > 0 })
	if err := rdb.Set(t.Context(), key, "text", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := run.Wait(); !flow.IsPermanent(err) {
		t.Errorf("ended with %v", err)
	}
}
