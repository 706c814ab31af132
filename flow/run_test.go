package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var errBoom = errors.New("boom")

func double(_ context.Context, v int) (int, error) { return 2 * v, nil }

func TestRunEndsWithItsSources(t *testing.T) {
	src, out := newScript(10_000), &bag[int]{}
	if err := New("g", To(mapTo(src.source(), double), out.sink())).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := upTo(10_000)
	for i := range want {
		want[i] *= 2
	}
	if d := cmp.Diff(want, out.values()); d != "" {
		t.Errorf("values (-want +got):\n%s", d)
	}
	src.wantAllAcked(t)
	if src.closed != 1 {
		t.Errorf("reader closed %d times", src.closed)
	}
}

func TestGraphRunsTwiceAtOnce(t *testing.T) {
	var made atomic.Int32
	src := NewSource("twice", func() Reader[int] { made.Add(1); return &scriptReader{script: newScript(1000)} })
	out := &bag[int]{}
	g := New("g", To(mapTo(src, double, Workers(3)), out.sink()))
	a, errA := g.Start(t.Context())
	b, errB := g.Start(t.Context())
	if err := errors.Join(errA, errB, a.Wait(), b.Wait()); err != nil {
		t.Fatal(err)
	}
	if n := len(out.values()); n != 2000 || made.Load() != 2 {
		t.Errorf("%d values by %d readers, want 2000 by 2", n, made.Load())
	}
}

func TestWorkers(t *testing.T) {
	const n = 5000
	tests := map[string]struct {
		opts  []StageOption
		order func(t *testing.T, got []int)
	}{
		"ordered": {[]StageOption{Workers(4)}, func(t *testing.T, got []int) {
			if !slices.IsSorted(got) {
				t.Error("the order is not kept")
			}
		}},
		"unordered": {[]StageOption{Workers(4), Unordered()}, nil},
		"keyed": {[]StageOption{Workers(4), KeyedBy(func(v int) int { return v % 7 })}, func(t *testing.T, got []int) {
			last := map[int]int{}
			for _, v := range got {
				if key := v / 2 % 7; v < last[key] {
					t.Fatalf("key %d: %d after %d", key, v, last[key])
				} else {
					last[key] = v
				}
			}
		}},
		"async": {[]StageOption{Async()}, func(t *testing.T, got []int) {
			if !slices.IsSorted(got) {
				t.Error("the order is not kept")
			}
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			src, out := newScript(n), &bag[int]{}
			if err := New("g", To(mapTo(src.source(), double, tt.opts...), out.sink())).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			src.wantAllAcked(t)
			got := out.values()
			if tt.order != nil {
				tt.order(t, got)
			}
			slices.Sort(got)
			if len(got) != n || got[0] != 0 || got[n-1] != 2*(n-1) {
				t.Errorf("%d values", len(got))
			}
		})
	}
}

// A keyed retry frees its worker. If a single key fails, messages of other keys continue even with
// one worker.
func TestKeyedRetryBlocksItsKeyOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out := newScript(20), &bag[int]{}
		tried := map[int]int{}
		handled := mapTo(src.source(), func(_ context.Context, v int) (int, error) {
			if v == 0 {
				if tried[v]++; tried[v] < 3 {
					return 0, errBoom
				}
			}
			return v, nil
		}, Workers(2), KeyedBy(func(v int) int { return v % 2 }), OnFault(Retry(3, time.Minute, Stop)))
		r, err := New("g", To(handled, out.sink())).Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, v := range out.values() {
			if v%2 == 0 {
				t.Fatalf("%d overtook the retry of its key", v)
			}
		}
		if n := len(out.values()); n != 10 {
			t.Errorf("%d values of the other key while one key waits, want 10", n)
		}
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		var even []int
		for _, v := range out.values() {
			if v%2 == 0 {
				even = append(even, v)
			}
		}
		if d := cmp.Diff([]int{0, 2, 4, 6, 8, 10, 12, 14, 16, 18}, even); d != "" {
			t.Errorf("the key's order (-want +got):\n%s", d)
		}
		src.wantAllAcked(t)
	})
}

func TestFaultPolicies(t *testing.T) {
	panicky := func(context.Context, int) (int, error) { panic("ouch") }
	failing := func(err error) func(context.Context, int) (int, error) {
		return func(_ context.Context, v int) (int, error) {
			if v == 1 {
				return 0, err
			}
			return v, nil
		}
	}
	one := func(o Outcome) func(int) Outcome {
		return func(v int) Outcome {
			if v == 1 {
				return o
			}
			return Acked
		}
	}
	tests := map[string]struct {
		f      func(context.Context, int) (int, error)
		policy Policy
		want   func(int) Outcome
	}{
		"nack":           {failing(errBoom), Nack, one(Nacked)},
		"dead letter":    {failing(errBoom), DeadLetter, one(Dead)},
		"drop":           {failing(errBoom), Drop, one(Dropped)},
		"retry, nack":    {failing(errBoom), Retry(2, time.Second, Nack), one(Nacked)},
		"default":        {failing(errBoom), nil, one(Nacked)},
		"verdict skip":   {failing(Skip), Stop, one(Dropped)},
		"verdict reject": {failing(Reject(errBoom)), Stop, one(Dead)},
		"verdict retry":  {failing(fmt.Errorf("so: %w", RetryAfter(time.Minute, errBoom))), Stop, one(Nacked)},
		"panic":          {panicky, Drop, func(int) Outcome { return Dropped }},
	}
	for name, tt := range tests {
		kinds := map[string]func(Source[int], func(context.Context, int) (int, error), ...StageOption) Source[int]{
			"transform": mapTo[int, int], "step": stepTo[int, int], "via": viaTo[int, int],
		}
		for kind, stage := range kinds {
			workers := 1 + len(kind)%2*2
			t.Run(fmt.Sprint(name, "/", kind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					src, out := newScript(4), &bag[int]{}
					opts := []StageOption{Workers(workers)}
					if tt.policy != nil {
						opts = append(opts, OnFault(tt.policy))
					}
					if err := New("g", To(stage(src.source(), tt.f, opts...), out.sink())).Run(
						t.Context()); err != nil {
						t.Fatal(err)
					}
					src.wantOutcomes(t, tt.want)
					if strings.HasPrefix(name, "verdict retry") {
						if after := src.settled[1][0].Fault.After; after != time.Minute {
							t.Errorf("nacked with a delay of %v", after)
						}
					}
				})
			})
		}
	}
}

func TestRetryCallsAgainInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out := newScript(3), &bag[int]{}
		tries := 0
		started := time.Now()
		g := New("g", To(mapTo(src.source(), func(_ context.Context, v int) (int, error) {
			if v == 1 {
				if tries++; tries < 4 {
					return 0, errBoom
				}
			}
			return v, nil
		}, OnFault(Retry(3, time.Second, Stop))), out.sink()))
		if err := g.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(upTo(3), out.values()); d != "" {
			t.Errorf("order (-want +got):\n%s", d)
		}
		if took := time.Since(started); took < 3500*time.Millisecond || took > 10500*time.Millisecond {
			t.Errorf("three retries from one second on took %v, want 7 s ± 50 %%", took)
		}
		src.wantAllAcked(t)
	})
}

func TestStopPolicyStopsTheGraph(t *testing.T) {
	src, out := newScript(1000), &bag[int]{}
	err := New("g", To(mapTo(src.source(), func(_ context.Context, v int) (int, error) {
		if v == 500 {
			return 0, errBoom
		}
		return v, nil
	}, Name("priced"), OnFault(Stop)), out.sink()), KillGrace(time.Minute)).Run(t.Context())
	var stage *StageError
	if !errors.As(err, &stage) || stage.Stage != "priced" || stage.ID != "500" || !errors.Is(err, errBoom) {
		t.Fatalf("got %v", err)
	}
	src.wantOutcomes(t, func(v int) Outcome {
		switch {
		case v == 500:
			return Failed
		case slices.Contains(out.values(), v):
			return Acked
		default:
			return Nacked
		}
	})
}

// A source that can neither redeliver nor keep dead letters must not lose a message silently.
func TestNotRedeliverable(t *testing.T) {
	for name, verdict := range map[string]error{"nack": errBoom, "reject": Reject(errBoom)} {
		t.Run(name, func(t *testing.T) {
			src := newScript(3)
			src.opts = nil
			err := New("g", To(mapTo(src.source(), func(context.Context, int) (int, error) { return 0, verdict },
				OnFault(Nack)), (&bag[int]{}).sink())).Run(t.Context())
			if !errors.Is(err, ErrNotRedeliverable) || !errors.Is(err, errBoom) {
				t.Fatalf("got %v", err)
			}
		})
	}
	t.Run("retry after waits in place", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src, out := newScript(3), &bag[int]{}
			src.opts = nil
			tries := 0
			err := New("g", To(mapTo(src.source(), func(_ context.Context, v int) (int, error) {
				if tries++; tries == 1 {
					return 0, RetryAfter(time.Hour, errBoom)
				}
				return v, nil
			}), out.sink())).Run(t.Context())
			if err != nil || len(out.values()) != 3 {
				t.Fatalf("%v, %v", err, out.values())
			}
		})
	})
}

func TestSinkFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out := newScript(1000), &bag[int]{}
		tries := map[int]int{}
		out.fail = func(v int) error {
			if v%10 == 3 {
				if tries[v]++; tries[v] < 3 {
					return errBoom
				}
			}
			if v%100 == 50 {
				return Reject(errBoom)
			}
			return nil
		}
		if err := New("g", To(src.source(), out.sink())).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		src.wantOutcomes(t, func(v int) Outcome {
			if v%100 == 50 {
				return Dead
			}
			return Acked
		})
		got := out.values()
		slices.Sort(got)
		if len(slices.Compact(got)) != 990 || len(out.values()) != 990 {
			t.Errorf("%d values written, want 990, each once", len(out.values()))
		}
	})
}

func TestFanOutTakesTheWorst(t *testing.T) {
	src, left, right := newScript(100), &bag[int]{}, &bag[int]{}
	out := copies(src.source(), 2)
	bad := mapTo(out[1], func(_ context.Context, v int) (int, error) {
		if v%10 == 0 {
			return 0, errBoom
		}
		return v, nil
	}, OnFault(Nack))
	if err := New("g", To(out[0], left.sink()), To(bad, right.sink())).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	src.wantOutcomes(t, func(v int) Outcome {
		if v%10 == 0 {
			return Nacked
		}
		return Acked
	})
	if len(left.values()) != 100 || len(right.values()) != 90 {
		t.Errorf("%d and %d values", len(left.values()), len(right.values()))
	}
}

func TestBatchJoinsLeases(t *testing.T) {
	src, out := newScript(25), &bag[[]int]{}
	out.fail = func(v []int) error {
		if slices.Contains(v, 13) {
			return Reject(errBoom)
		}
		return nil
	}
	if err := New("g", To(batch(src.source(), 10, 0), out.sink())).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	src.wantOutcomes(t, func(v int) Outcome {
		if v/10 == 1 {
			return Dead
		}
		return Acked
	})
	if d := cmp.Diff([][]int{upTo(10), {20, 21, 22, 23, 24}}, out.values()); d != "" {
		t.Errorf("batches (-want +got):\n%s", d)
	}
}

func TestAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out := newScript(5), &bag[[]int]{}
		src.every, src.perRead, src.forever = 400*time.Millisecond, 1, true
		r, err := New("g", To(batch(src.source(), 100, time.Second), out.sink())).Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if d := cmp.Diff([][]int{{0, 1, 2}}, out.values()); d != "" {
			t.Errorf("one second after the first element (-want +got):\n%s", d)
		}
		if _, err := r.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		src.wantAllAcked(t)
	})
}

func TestUnbatchAfterBatch(t *testing.T) {
	src, out := newScript(1000), &bag[int]{}
	flat := unbatch(batch(src.source(), 300, 0))
	if err := New("g", To(mapTo(flat, double, Workers(2)), out.sink())).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	src.wantAllAcked(t)
	if n := len(out.values()); n != 1000 || !slices.IsSorted(out.values()) {
		t.Errorf("%d values, sorted: %v", n, slices.IsSorted(out.values()))
	}
}

func TestHoldsGoBackWhenTheHandlerPanics(t *testing.T) {
	src := newScript(10)
	held := Via(src.source(), "hoarder", func() Handler[int, int] {
		return HandlerFunc[int, int](func(ctx context.Context, m Message[int], _ Emit[int]) error {
			if m.Value == 5 {
				panic("ouch")
			}
			Hold(ctx, m)
			return nil
		})
	}, OnFault(DeadLetter))
	r, err := New("g", To(held, (&bag[int]{}).sink())).Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	src.wantOutcomes(t, func(v int) Outcome {
		if v == 5 {
			return Dead
		}
		return Nacked // 0 to 4 at the panic, 6 to 9 at the end: they were not finished
	})
}

func TestHeldMisuse(t *testing.T) {
	src, out := newScript(3), &bag[int]{}
	var kept []Held[int]
	var late Message[int]
	g := New("g", To(Via(src.source(), "misuse", func() Handler[int, int] {
		return HandlerFunc[int, int](func(ctx context.Context, m Message[int], emit Emit[int]) error {
			switch m.Value {
			case 0:
				h := Hold(ctx, m)
				h.Done()
				h.Done()
				h.Fail(errBoom)
				kept = append(kept, h)
				late = m
			case 2:
				kept[0].Done() // long over
				emit(late)     // whether settled or not, it must not disturb anything
			}
			return nil
		})
	}), out.sink()))
	if err := g.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	src.wantAllAcked(t)
}

func TestBigFlatMapPassesOnChunks(t *testing.T) {
	src, out := newScript(3), &bag[int]{}
	many := Via(src.source(), "many", func() Handler[int, int] {
		return HandlerFunc[int, int](func(_ context.Context, m Message[int], emit Emit[int]) error {
			for i := range 1000 {
				emit(Derive(m, i))
			}
			if m.Value == 1 {
				return Reject(errBoom)
			}
			return nil
		})
	})
	if err := New("g", To(many, out.sink())).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	src.wantOutcomes(t, func(v int) Outcome {
		if v == 1 {
			return Dead
		}
		return Acked
	})
	if n := len(out.values()); n != 2000+768 {
		t.Errorf("%d values: of a failed call only full chunks may have gone on", n)
	}
}

func TestCreditsBoundWhatIsInFlight(t *testing.T) {
	for _, opts := range [][]StageOption{{MaxInFlight(7)}, {MaxInFlight(1)}, {MaxBytes(70)}} {
		src, out := newScript(2000, opts...), &bag[int]{}
		src.size = 10
		if err := New("g", To(mapTo(src.source(), double, Workers(4), Unordered()), out.sink())).Run(
			t.Context()); err != nil {
			t.Fatal(err)
		}
		src.wantAllAcked(t)
		if src.peak > 7 {
			t.Errorf("%d entries were in flight, want 7 at most", src.peak)
		}
	}
}

func TestOneLargeEntryGetsThrough(t *testing.T) {
	src, out := newScript(5, MaxBytes(10)), &bag[int]{}
	src.size = 1000
	if err := New("g", To(src.source(), out.sink())).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	src.wantAllAcked(t)
	if src.peak != 1 {
		t.Errorf("%d large entries in flight at once", src.peak)
	}
}

// A slow handler's results are passed on one by one, without waiting for a full chunk.
func TestSlowStagePassesOnAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out := newScript(100), &bag[int]{}
		slow := mapTo(src.source(), func(_ context.Context, v int) (int, error) {
			time.Sleep(time.Second)
			return v, nil
		})
		r, err := New("g", To(mapTo(slow, double, Async()), out.sink())).Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(30500 * time.Millisecond)
		synctest.Wait()
		if n := len(out.values()); n < 28 {
			t.Errorf("after 30 messages of a second each %d have come out", n)
		}
		src.mu.Lock()
		if n := len(src.settled); n < 28 {
			t.Errorf("and %d are committed", n)
		}
		src.mu.Unlock()
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCommitIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out := newScript(100), &bag[int]{}
		calls := 0
		src.commits = func() error {
			if calls++; calls < 4 {
				return errBoom
			}
			return nil
		}
		if err := New("g", To(src.source(), out.sink())).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		src.wantAllAcked(t)
	})
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newScript(3)
		hang := mapTo(src.source(), func(ctx context.Context, _ int) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}, Timeout(time.Second), OnFault(DeadLetter))
		if err := New("g", To(hang, (&bag[int]{}).sink())).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		src.wantOutcomes(t, func(int) Outcome { return Dead })
		if err := src.settled[0][0].Err(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("failed with %v", err)
		}
	})
}

func TestNoAllocationPerMessage(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const n = 200_000
	inc := func(_ context.Context, v int) (int, error) { return v + 1, nil }
	src := NewSource("count", func() Reader[int] { return &counter{max: n} }, Traits{Inline: true})
	odd := func() StepFunc[int, int] {
		return func(_ context.Context, m Message[int]) (Message[int], bool, error) { return m, m.Value%2 == 1, nil }
	}
	same := func() func(context.Context, int) (int, error) { return inc }
	all := Transform(Step(mapTo(mapTo(src, inc), inc), "odd", odd), "inc", same)
	g := New("g", To(all, discard[int]()))
	if per := testing.AllocsPerRun(3, func() { _ = g.Run(context.Background()) }) / n; per > 0.03 {
		t.Errorf("%.3f allocations per message", per)
	}
}

// A sink behind Workers that opens late costs no delivery, because nothing is read from the edge
// before it is open.
func TestWorkersWaitForWhatIsDownstream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out, opens := newScript(100), &bag[int]{}, 0
		to := NewSink("flaky", func() Writer[int] {
			return flaky{bag: out, opens: &opens, failing: func(n int) error {
				if n < 3 {
					return errBoom
				}
				return nil
			}}
		})
		if err := New("g", To(mapTo(src.source(), double, Workers(3)), to)).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		src.wantAllAcked(t)
	})
}

// A Sleep in a sink passes on what stages before it hold back. It does not write the sink's chunk again.
func TestSleepInASink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var written []int
		slow := NewSink("slow", func() Writer[int] {
			return WriterFunc[int](func(ctx context.Context, chunk []Message[int]) error {
				for _, m := range chunk {
					if err := Sleep(ctx, time.Second); err != nil {
						return err
					}
					written = append(written, m.Value)
				}
				return nil
			})
		})
		src := newScript(5)
		if err := New("g", To(src.source(), slow)).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := []int{0, 1, 2, 3, 4}; !slices.Equal(written, want) {
			t.Errorf("written: %v, want %v", written, want)
		}
		src.wantOutcomes(t, func(int) Outcome { return Acked })
	})
}
