package operators_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/operators/state"
)

// TestTake checks what happens to the entries behind the last one that Take passes on.
func TestTake(t *testing.T) {
	never := func(v int) bool { return v < 3 }
	for name, take := range map[string]func(flow.Source[int]) flow.Source[int]{
		"take":       func(in flow.Source[int]) flow.Source[int] { return operators.Take(in, 3) },
		"take while": func(in flow.Source[int]) flow.Source[int] { return operators.TakeWhile(in, never) },
	} {
		virtual(t, name+" ends an endless source, and the rest goes back", func(t *testing.T) {
			in := numbers(100)
			in.stays = true
			out := &box[int]{}
			run(t, flow.To(take(in.source()), out.sink()))
			out.want(t, 0, 1, 2)
			in.unfinished(t, []int{0, 1, 2})
		})
		virtual(t, name+" leaves a source alone that another stage needs", func(t *testing.T) {
			in := numbers(100)
			some, all := &box[int]{}, &box[int]{}
			copies := operators.FanOut(in.source(), 2)
			run(t, flow.To(take(copies[0]), some.sink()), flow.To(copies[1], all.sink()))
			some.want(t, 0, 1, 2)
			all.want(t, sequence(100)...)
			in.allSettledAs(t, flow.Acked)
		})
		virtual(t, name+" ends a source that cannot deliver again", func(t *testing.T) {
			src, feed := flowtest.Feed[int](t, flowtest.CannotRedeliver())
			out := &box[int]{}
			feed.Send(sequence(10)...)
			run(t, flow.To(take(src), out.sink()))
			out.want(t, 0, 1, 2)
			feed.WantAcked(sequence(10)...)
		})
	}
	virtual(t, "none", func(t *testing.T) {
		in := numbers(10)
		in.stays = true
		out := &box[int]{}
		run(t, flow.To(operators.Take(in.source(), 0), out.sink()))
		out.want(t)
		in.unfinished(t, nil)
	})
	virtual(t, "two takes of one source stop it together", func(t *testing.T) {
		in := numbers(100)
		in.stays = true
		a, b := &box[int]{}, &box[int]{}
		copies := operators.FanOut(in.source(flow.ChunkSize(10)), 2)
		run(t, flow.To(operators.Take(copies[0], 3), a.sink()), flow.To(operators.Take(copies[1], 30), b.sink()))
		a.want(t, 0, 1, 2)
		b.want(t, sequence(30)...)
	})
	virtual(t, "a restart after the end passes nothing more", func(t *testing.T) {
		a, b := numbers(10), numbers(10)
		a.stays, b.stays = true, true
		out := &box[int]{}
		run(t, flow.To(operators.Take(operators.FanIn(a.source(), b.source(flow.Name("b"))), 5), out.sink()))
		if got := len(out.values()); got != 5 {
			t.Errorf("%d values passed, want 5", got)
		}
	})
}

func TestState_PanicsAreFaultsOfOneMessage(t *testing.T) {
	boom := func(v int) bool {
		if v == 3 {
			panic(errBoom)
		}
		return true
	}
	key := func(v int) int { boom(v); return v }
	sum := func(_ context.Context, sum, v int) (int, error) { boom(v); return sum + v, nil }
	dead := flow.OnFault(flow.DeadLetter)
	for name, op := range map[string]func(flow.Source[int]) flow.Source[int]{
		"take while": func(in flow.Source[int]) flow.Source[int] { return operators.TakeWhile(in, boom, dead) },
		"drop while": func(in flow.Source[int]) flow.Source[int] {
			return operators.DropWhile(in, func(v int) bool { return boom(v) && v < 5 }, dead)
		},
		"distinct": func(in flow.Source[int]) flow.Source[int] { return operators.Distinct(in, key, 5, dead) },
		"scan":     func(in flow.Source[int]) flow.Source[int] { return operators.Scan(in, 0, sum, dead) },
		"fold":     func(in flow.Source[int]) flow.Source[int] { return operators.Fold(in, 0, sum, dead) },
		"stateful": func(in flow.Source[int]) flow.Source[int] {
			return operators.Stateful(in, key, nil,
				func(_ context.Context, _ *state.Cell[int, int], v int, emit func(int)) error {
					emit(v)
					return nil
				}, nil, dead)
		},
	} {
		virtual(t, name, func(t *testing.T) {
			in := numbers(8)
			run(t, flow.To(op(in.source()), discard[int]()))
			in.outcomes(t, map[int]flow.Outcome{3: flow.Dead})
		})
	}
}

func TestDistinct(t *testing.T) {
	virtual(t, "forgets the key seen longest ago", func(t *testing.T) {
		in, out := newFeed(1, 2, 1, 3, 2, 1, 3), &box[int]{}
		run(t, flow.To(operators.Distinct(in.source(), func(v int) int { return v }, 2), out.sink()))
		out.want(t, 1, 2, 3, 2, 1, 3)
	})
	virtual(t, "NaN always passes", func(t *testing.T) {
		in, out, keys := numbers(4), &box[int]{}, []float64{math.NaN(), math.NaN(), 1, 1}
		run(t, flow.To(operators.Distinct(in.source(), func(i int) float64 { return keys[i] }, 2), out.sink()))
		out.want(t, 0, 1, 2)
	})
	virtual(t, "an entry delivered again passes", func(t *testing.T) {
		src, feed := flowtest.Feed[int](t, flowtest.Redeliver(3))
		sink, got := flowtest.Collect[int](t, flow.OnFault(flow.NackAfter(time.Second)))
		got.Fail(2, errBoom)
		once := operators.Distinct(src, func(v int) int { return v }, 10)
		flowtest.Start(t, flow.To(once, sink))
		feed.Send(7)
		got.Want(7)
		feed.Send(7)
		feed.WantAcked(7, 7)
		got.Want(7)
	})
}

type cell = state.Cell[string, int]

func self(s string) string { return s }

func TestStateful(t *testing.T) {
	virtual(t, "timers", func(t *testing.T) {
		src, feed := flowtest.Feed[string](t)
		sink, got := flowtest.Collect[string](t)
		fails := 1
		out := operators.Stateful(src, self, nil,
			func(_ context.Context, c *cell, v string, emit func(string)) error {
				n, _ := c.Get()
				c.Set(n + 1)
				c.WakeAt(time.Now().Add(time.Duration(n+1) * time.Minute))
				return nil
			},
			func(_ context.Context, c *cell, emit func(string)) error {
				emit(c.Key())
				c.Delete()
				if fails--; fails == 0 {
					panic(errBoom)
				}
				return nil
			})
		began := time.Now()
		flowtest.Start(t, flow.To(out, sink))
		feed.Send("late", "soon", "late")
		feed.WantAcked("late", "soon", "late")
		synctest.Wait()
		if len(got.Values()) > 0 {
			t.Error("a timer rang at once")
		}
		got.Patience = time.Hour
		got.Want("soon", "late")
		if passed := time.Since(began); passed != 2*time.Minute {
			t.Errorf("the last timer rang after %v, want 2m", passed) // the first was repeated after 10 s
		}
	})
	virtual(t, "state outlives a restart in a store of its own", func(t *testing.T) {
		src, feed := flowtest.Feed[string](t)
		sink, got := flowtest.Collect[int](t)
		store := &state.Memory[string, int]{}
		fails := true
		counts := operators.Stateful(src, self, store,
			func(_ context.Context, c *cell, v string, emit func(int)) error {
				n, _ := c.Get()
				c.Set(n + 1)
				emit(n + 1)
				return nil
			},
			func(context.Context, *cell, func(int)) error {
				if fails {
					fails = false
					return flow.Permanent(errBoom)
				}
				return nil
			})
		r := flowtest.Start(t, flow.To(counts, sink))
		feed.Send("a", "a")
		got.Want(1, 2)
		if err := store.Save(t.Context(), "b", state.Record[int]{Wake: time.Now()}); err != nil {
			t.Fatal(err)
		}
		feed.Send("a")
		if err := r.Wait(); !errors.Is(err, errBoom) {
			t.Errorf("the graph ended with %v, want the permanent error of the timer", err)
		}
		if r, _ := store.Load(t.Context(), "a"); r.Value < 2 {
			t.Errorf("the store has %d, want 2 or more", r.Value)
		}
	})
	virtual(t, "a timer without onTimer, and emit after the return", func(t *testing.T) {
		in := newFeed("timer", "ok")
		var kept func(string)
		out := operators.Stateful(in.source(), self, nil,
			func(_ context.Context, c *cell, v string, emit func(string)) error {
				if v == "timer" {
					c.WakeAt(time.Now())
				}
				kept = emit
				return nil
			}, nil, flow.OnFault(flow.DeadLetter))
		run(t, flow.To(out, discard[string]()))
		in.outcomes(t, map[int]flow.Outcome{0: flow.Dead})
		defer func() {
			if recover() == nil {
				t.Error("emit after the return did not panic")
			}
		}()
		kept("late")
	})
	virtual(t, "a store that fails", func(t *testing.T) {
		in := newFeed("load", "save", "ok")
		out := operators.Stateful(in.source(), self, &badStore{},
			func(_ context.Context, c *cell, v string, emit func(string)) error {
				c.Set(1)
				emit(v)
				return nil
			}, nil, flow.OnFault(flow.DeadLetter))
		got := &box[string]{}
		run(t, flow.To(out, got.sink()))
		got.want(t, "ok")
		in.outcomes(t, map[int]flow.Outcome{0: flow.Dead, 1: flow.Dead})
	})
}

// badStore fails to load or to save the keys of that name.
type badStore struct{ state.Memory[string, int] }

func (s *badStore) Load(ctx context.Context, key string) (state.Record[int], error) {
	if key == "load" {
		return state.Record[int]{}, errBoom
	}
	return s.Memory.Load(ctx, key)
}

func (s *badStore) Save(ctx context.Context, key string, r state.Record[int]) error {
	if key == "save" {
		return errBoom
	}
	return s.Memory.Save(ctx, key, r)
}

func TestState_Validate(t *testing.T) {
	end := func(in flow.Source[int]) flow.Part { return flow.To(in, discard[int]()) }
	src := func() flow.Source[int] { return numbers(1).source() }
	invalid(t, []string{"take: n", "drop: n", "take-while: f", "drop-while: f", "distinct: key", "distinct: most",
		"scan: f", "fold: f", "stateful: key", "stateful: f"},
		end(operators.Take(src(), -1)), end(operators.Drop(src(), -1)),
		end(operators.TakeWhile(src(), nil)), end(operators.DropWhile(src(), nil)),
		end(operators.Distinct[int, int](src(), nil, 0)),
		end(operators.Scan[int, int](src(), 0, nil)), end(operators.Fold[int, int](src(), 0, nil)),
		end(operators.Stateful[int, int, int, int](src(), nil, nil, nil, nil)))
}

func TestMemory(t *testing.T) {
	ctx := t.Context()
	var forgotten []string
	m := &state.Memory[string, int]{MaxKeys: 2, Forgotten: func(key string, r state.Record[int]) {
		forgotten = append(forgotten, key)
	}}
	at := time.Unix(100, 0)
	save := func(key string, r state.Record[int]) {
		t.Helper()
		if err := m.Save(ctx, key, r); err != nil {
			t.Fatal(err)
		}
	}
	save("a", state.Record[int]{Has: true, Value: 1, Wake: at.Add(3)})
	save("b", state.Record[int]{Wake: at.Add(2)})
	if got := m.Next(); !got.Equal(at.Add(2)) {
		t.Errorf("the first timer is due at %v", got)
	}
	_, _ = m.Load(ctx, "a")
	save("c", state.Record[int]{Wake: at.Add(1)}) // forgets b
	save("c", state.Record[int]{Wake: at.Add(5)})
	save("none", state.Record[int]{})
	if key, due, _ := m.Due(ctx, at.Add(3)); !due || key != "a" {
		t.Errorf("%q is due (%v), want a", key, due)
	}
	save("a", state.Record[int]{Has: true, Value: 2})
	if _, due, _ := m.Due(ctx, at.Add(4)); due || m.Len() != 2 {
		t.Errorf("due: %v with %d keys, want none due and 2 keys", due, m.Len())
	}
	save("c", state.Record[int]{})
	save("a", state.Record[int]{})
	if m.Len() != 0 || !m.Next().IsZero() {
		t.Errorf("%d keys are left, a timer is due at %v", m.Len(), m.Next())
	}
	if diff := cmp.Diff([]string{"b"}, forgotten); diff != "" {
		t.Errorf("forgotten keys (-want +got):\n%s", diff)
	}
	nan := &state.Memory[float64, int]{}
	_ = nan.Save(ctx, math.NaN(), state.Record[int]{Has: true})
	if nan.Len() != 0 {
		t.Error("a NaN has a state, which can never be found again")
	}
}
