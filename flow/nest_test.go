package flow

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func parity(v int) int { return v % 2 }

func identity(v int) int { return v }

// numbered pairs each value with its number.
func numbered[T any](in Source[T], name string) Source[counted2[T]] {
	return Step(in, name, func() StepFunc[T, counted2[T]] {
		n := 0
		return func(_ context.Context, m Message[T]) (Message[counted2[T]], bool, error) {
			n++
			return Derive(m, counted2[T]{m.Value, n}), true, nil
		}
	})
}

type counted2[T any] struct {
	v T
	n int
}

// keysOf returns the number of keys that are alive.
func keysOf(r *Running) int {
	r.lanes.mu.Lock()
	defer r.lanes.mu.Unlock()
	return len(r.lanes.keys)
}

func TestNest(t *testing.T) {
	virtual := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
	virtual("in a Nest", testNestInNest)
	virtual("a stage that panics when a key begins", testNestPanicAtOpen)
	virtual("a stage that fails when a key ends", testNestFailingEnd)
	virtual("an alarm that stays due keeps no other key waiting", testNestAlarmStaysDue)
	virtual("a hold ended elsewhere", testNestStrayHold)
	virtual("a wait between a join and its output", testNestSleepInCall)
	virtual("a lost lease", testNestLostLease)
	virtual("its work is measured", testNestMeasured)
}

// The stage behind the inner keys belongs to their outer key, also for inner keys that begin later.
func testNestInNest(t *testing.T) {
	type deep = counted2[counted2[int]]
	src, out := newScript(12), &bag[deep]{}
	nest := Nest(src.source(), "outer", parity, 10, time.Hour, func(of Source[int]) Source[deep] {
		inner := Nest(
			of,
			"inner",
			func(v int) int { return v % 6 },
			10,
			time.Hour,
			func(of Source[int]) Source[counted2[int]] {
				return numbered(of, "number")
			},
		)
		return numbered(inner, "all")
	})
	if err := New("g", To(nest, out.sink())).Run(t.Context()); err != nil {
		t.Error(err)
	}
	var want []deep
	for v := range 12 {
		want = append(want, deep{counted2[int]{v, v/6 + 1}, v/2 + 1})
	}
	if got := out.values(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	src.wantAllAcked(t)
}

func testNestPanicAtOpen(t *testing.T) {
	src, out, begun := newScript(4), &bag[[]int]{}, 0
	nest := Nest(src.source(), "nest", identity, 10, time.Hour, func(of Source[int]) Source[[]int] {
		same := Step(of, "same", func() StepFunc[int, int] {
			if begun++; begun == 3 {
				panic("no")
			}
			return func(_ context.Context, m Message[int]) (Message[int], bool, error) { return m, true, nil }
		})
		return batch(same, 2, 0)
	})
	r, err := New("g", To(nest, out.sink())).Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(); err != nil {
		t.Error(err)
	}
	for _, st := range r.Snapshot(t.Context()).Stages {
		if st.Kind == "stage" && st.Restarts != 1 {
			t.Errorf("%s was restarted %d times, want once", st.Name, st.Restarts)
		}
	}
	src.wantOutcomes(t, func(v int) Outcome { // the keys before it and its own go back
		if slices.ContainsFunc(out.values(), func(b []int) bool { return slices.Contains(b, v) }) {
			return Acked
		}
		return Nacked
	})
	if n := keysOf(r); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

func testNestFailingEnd(t *testing.T) {
	src, out, failed := newScript(3), &bag[int]{}, false
	nest := Nest(src.source(), "nest", identity, 1, time.Hour, func(of Source[int]) Source[int] {
		return Via(of, "ender", func() Handler[int, int] { return &failingEnd{failed: &failed} })
	})
	if err := New("g", To(nest, out.sink())).Run(t.Context()); err != nil {
		t.Error(err)
	}
	if len(src.settled) != 3 || src.settled[0][0].Outcome != Nacked {
		t.Errorf("settled %v, want 0 nacked", src.settled)
	}
}

// failingEnd holds a message and passes it on at its end, which fails the first time.
type failingEnd struct {
	failed *bool
	held   []Held[int]
}

func (h *failingEnd) Handle(ctx context.Context, m Message[int], _ Emit[int]) error {
	h.held = append(h.held, Hold(ctx, m))
	return nil
}

func (h *failingEnd) End(_ context.Context, emit Emit[int]) error {
	if !*h.failed {
		*h.failed = true
		return errors.New("no end")
	}
	for _, one := range h.held {
		emit(one.Message)
		one.Done()
	}
	return nil
}

func testNestAlarmStaysDue(t *testing.T) {
	src := newScript(2)
	src.forever = true
	rung := make(map[int]int)
	nest := Nest(src.source(), "nest", identity, 10, time.Hour, func(of Source[int]) Source[int] {
		return Via(of, "alarm", func() Handler[int, int] { return &eager{rung: rung} })
	})
	r, err := New("g", To(nest, (&bag[int]{}).sink())).Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	if err := r.Stop(); err != nil {
		t.Error(err)
	}
	if rung[1] != 1 || rung[0] < 1 {
		t.Errorf("rung %v, want both", rung)
	}
}

// eager of the value 0 is due from the first second on until the one of 1 was rung.
type eager struct {
	v    int
	due  time.Time
	rung map[int]int
}

func (h *eager) Handle(_ context.Context, m Message[int], _ Emit[int]) error {
	h.v, h.due = m.Value, time.Now().Add(time.Second)
	return nil
}

func (h *eager) Next() time.Time {
	if h.rung[1] > 0 {
		return time.Time{}
	}
	return h.due
}

func (h *eager) Ring(context.Context, Emit[int]) error {
	h.rung[h.v]++
	return nil
}

func testNestStrayHold(t *testing.T) {
	src := newScript(20)
	src.forever = true
	same := func(of Source[int]) Source[int] {
		return Via(of, "later", func() Handler[int, int] {
			return HandlerFunc[int, int](func(ctx context.Context, m Message[int], _ Emit[int]) error {
				time.AfterFunc(time.Second, Hold(ctx, m).Done)
				return nil
			})
		})
	}
	nest := Nest(src.source(), "outer", parity, 10, time.Hour, func(of Source[int]) Source[int] {
		return Nest(of, "inner", identity, 100, time.Hour, same)
	})
	r, err := New("g", To(nest, (&bag[int]{}).sink())).Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	if n := src.unsettled(); n != 20 {
		t.Errorf("%d are held, want 20", n)
	}
	time.Sleep(time.Second)
	if n := src.unsettled(); n != 0 {
		t.Errorf("%d are held, want none", n)
	}
	if n := keysOf(r); n != 22 {
		t.Errorf("%d keys, want 22", n)
	}
	if err := r.Stop(); err != nil {
		t.Error(err)
	}
	src.wantAllAcked(t)
}

// A wait in a call passes on what others have buffered, but not what belongs to the call.
func testNestSleepInCall(t *testing.T) {
	src, out := newScript(6), &bag[int]{}
	nest := Nest(src.source(), "nest", parity, 10, time.Hour, func(of Source[int]) Source[int] {
		return Via(of, "join", func() Handler[int, int] {
			return HandlerFunc[int, int](func(ctx context.Context, m Message[int], emit Emit[int]) error {
				joined := Join(ctx, m.Value, []Held[int]{Hold(ctx, m)})
				if err := Sleep(ctx, time.Second); err != nil {
					return err
				}
				if n := src.unsettled(); n != 6-m.Value {
					t.Errorf("at %d, %d entries are unsettled", m.Value, n)
				}
				emit(joined)
				return nil
			})
		})
	})
	if err := New("g", To(nest, out.sink())).Run(t.Context()); err != nil {
		t.Error(err)
	}
	if got := out.values(); !slices.Equal(got, upTo(6)) {
		t.Errorf("got %v", got)
	}
	src.wantAllAcked(t)
}

func testNestLostLease(t *testing.T) {
	src, out := newLeased(4), &bag[int]{}
	var causes []error
	nest := Nest(src.source(), "nest", parity, 10, time.Hour, func(of Source[int]) Source[int] {
		return mapTo(of, func(ctx context.Context, v int) (int, error) {
			select {
			case <-time.After(time.Second):
				return v, nil
			case <-ctx.Done():
				causes = append(causes, context.Cause(ctx))
				return 0, ctx.Err()
			}
		})
	})
	r, err := New("g", To(nest, out.sink())).Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond)
	src.lose([]string{"1", "3"})
	if err := r.Wait(); err != nil {
		t.Error(err)
	}
	if len(causes) != 1 || !errors.Is(causes[0], ErrLeaseLost) {
		t.Errorf("cancelled because of %v, want one lost lease", causes)
	}
	if got := out.values(); !slices.Equal(got, []int{0, 2}) {
		t.Errorf("got %v", got)
	}
	src.wantLost(t, 1, 3)
}

func testNestMeasured(t *testing.T) {
	src, fails := newScript(20), 1
	nest := Nest(src.source(), "nest", identity, 3, time.Hour, func(of Source[int]) Source[int] {
		slow := takes(of, "slow", 10*time.Second)
		return mapTo(takes(slow, "quick", time.Second), func(_ context.Context, v int) (int, error) {
			if fails--; fails >= 0 {
				return 0, errors.New("again")
			}
			return v, nil
		}, Name("fails"), OnFault(RetryEvery(1, time.Hour, nil)))
	})
	r, err := New("g", To(nest, (&bag[int]{}).sink())).Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Hour + 115*time.Second)
	if n := keysOf(r); n != 3 {
		t.Errorf("%d keys are alive, want 3", n)
	}
	for _, st := range r.stages {
		if st.name == "fails" && st.retrying.sum() != time.Hour {
			t.Errorf("retried for %v", st.retrying.sum())
		}
	}
	if err := r.Wait(); err != nil {
		t.Error(err)
	}
	s := r.Snapshot(t.Context())
	wantBusy(
		t,
		s,
		0,
		map[string]time.Duration{"nest": 0, "slow": 200 * time.Second, "quick": 20 * time.Second, "fails": 0},
	)
	for _, st := range s.Stages {
		if st.Kind == "stage" && (st.In != 20 || st.Out != 20) {
			t.Errorf("%s: %d in, %d out, want 20", st.Name, st.In, st.Out)
		}
	}
	src.wantAllAcked(t)
}
