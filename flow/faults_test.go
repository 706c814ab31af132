package flow

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A hold may end with a verdict.
func TestFault_D11_HeldFailHeedsVerdicts(t *testing.T) {
	errNo := errors.New("no")
	fails := []error{Reject(errNo), Skip, RetryAfter(0, errNo), errNo, nil}
	src := newScript(len(fails))
	held := Via(src.source(), "hold", func() Handler[int, int] {
		return HandlerFunc[int, int](func(ctx context.Context, m Message[int], _ Emit[int]) error {
			h := Hold(ctx, m)
			if m.Value == len(fails)-1 {
				h.Done()
			} else {
				h.Fail(fails[m.Value])
			}
			return nil
		})
	}, Traits{Holds: 1})
	if err := New("g", To(held, (&bag[int]{}).sink())).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []Outcome{Dead, Dropped, Nacked, Nacked, Acked}
	src.wantOutcomes(t, func(v int) Outcome { return want[v] })
	if f := src.settled[0][0].Fault; f.Stage != "hold" || !errors.Is(f, errNo) {
		t.Errorf("fault %v of stage %q", f, f.Stage)
	}
}

// crate is a joined value that is not a slice.
type crate struct{ rows []int }

// A sink that reports which members of a message it could not write settles them one by one. This
// also holds if the sink cannot be given a part of the message's value, and if the end of the
// message is watched.
func TestFault_D11_MembersOfAnyValue(t *testing.T) {
	errNo := errors.New("no")
	for _, watched := range []bool{false, true} {
		src := newScript(4)
		var told []Outcome
		watcher := NewWatcher(func(_ context.Context, ends []End) error {
			for _, e := range ends {
				told = append(told, e.Outcome)
			}
			return nil
		})
		crates := Step(batch(src.source(), 4, 0), "crate", func() StepFunc[[]int, crate] {
			return func(ctx context.Context, m Message[[]int]) (Message[crate], bool, error) {
				out := Derive(m, crate{m.Value})
				if watched {
					out, _ = Watch(ctx, out, watcher, nil)
				}
				return out, true, nil
			}
		})
		calls := 0
		out := NewSink("out", func() Writer[crate] {
			return WriterFunc[crate](func(context.Context, []Message[crate]) error {
				calls++
				if calls == 1 {
					return &WriteError{Errs: []error{nil, Reject(errNo), errNo, errNo}}
				}
				return &WriteError{Errs: []error{nil, errNo, nil, errNo}} // value 1 is already rejected
			})
		}, OnFault(Retry(1, 1, Drop)))
		if err := New("g", To(crates, out)).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []Outcome{Acked, Dead, Acked, Dropped}
		src.wantOutcomes(t, func(v int) Outcome { return want[v] })
		if calls != 2 {
			t.Errorf("%d writes, want 2", calls)
		}
		if watched && (len(told) != 1 || told[0] != Dead) {
			t.Errorf("the watcher was told %v, want one end: dead", told)
		}
	}
}

// If writing a batch fails as a whole, the batch ends as a whole, regardless of verdicts among its
// errors.
func TestFault_D11_ErrorsThatDoNotFit(t *testing.T) {
	src := newScript(4)
	out := NewSink("out", func() Writer[[]int] {
		return WriterFunc[[]int](func(context.Context, []Message[[]int]) error {
			return &WriteError{Errs: []error{Reject(errors.New("no")), nil, nil}}
		})
	}, OnFault(Nack))
	if err := New("g", To(batch(src.source(), 4, 0), out)).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	src.wantOutcomes(t, func(int) Outcome { return Nacked })
}

// Holds may be ended by any goroutine, while the stage works and while it is idle.
func TestFault_D17_HeldDoneOnAnotherGoroutine(t *testing.T) {
	const n = 2000
	synctest.Test(t, func(t *testing.T) {
		src := newScript(n, MaxInFlight(50))
		src.forever = true
		held := make(chan Held[int], n)
		stage := Via(src.source(), "hold", func() Handler[int, int] {
			return HandlerFunc[int, int](func(ctx context.Context, m Message[int], _ Emit[int]) error {
				held <- Hold(ctx, m)
				return nil
			})
		}, Traits{Holds: 50})
		r, err := New("g", To(stage, (&bag[int]{}).sink())).Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var enders sync.WaitGroup
		for range 4 {
			enders.Go(func() {
				for h := range held {
					h.Done()
					h.Done()
					if h.Value == n-1 {
						close(held)
					}
				}
			})
		}
		enders.Wait()
		time.Sleep(time.Second) // for the committer
		src.wantAllAcked(t)     // before the end, because nothing waits for another message
		if _, err := r.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A goroutine that keeps a hold or the handler's context after the end of the stage does no harm.
func TestFault_D17_HeldBeyondTheEnd(t *testing.T) {
	src := newScript(3)
	var ctx context.Context
	var kept []Held[int]
	stage := Via(src.source(), "hold", func() Handler[int, int] {
		return HandlerFunc[int, int](func(c context.Context, m Message[int], _ Emit[int]) error {
			ctx = c
			kept = append(kept, Hold(c, m))
			return nil
		})
	}, Traits{Holds: 3})
	if err := New("g", To(stage, (&bag[int]{}).sink())).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, h := range kept {
		h.Done()
		Hold(ctx, h.Message).Fail(errors.New("late"))
		Join(ctx, 0, []Held[int]{h})
	}
	src.wantOutcomes(t, func(int) Outcome { return Nacked })
}

// With HoldKey a message that keeps failing delays all other messages of its key, and no others.
func TestFault_D10_HoldKeyKeepsTheOrder(t *testing.T) {
	const n = 3000 // far more waiting messages than a pool has slots
	for name, c := range map[string]struct {
		tries int
		want  Outcome
	}{"until it succeeds": {0, Acked}, "until it is dead": {8, Dead}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src, out := newScript(n), &bag[int]{}
				began := time.Now()
				parity := func(v int) int { return v % 2 }
				var early atomic.Int32 // of the other key, while the first is held
				slow := mapTo(src.source(), func(_ context.Context, v int) (int, error) {
					switch {
					case v == 0 && (c.want == Dead || time.Since(began) < 10*time.Minute):
						return 0, errors.New("down")
					case v%2 == 1 && time.Since(began) < 10*time.Second:
						early.Add(1)
					}
					return v, nil
				}, Workers(2), KeyedBy(parity))
				if err := New("g", To(slow, out.sink()), Faults(HoldKey(c.tries, time.Second))).Run(
					t.Context()); err != nil {
					t.Fatal(err)
				}
				last := [2]int{-1, -1}
				for _, v := range out.values() {
					if v < last[v%2] {
						t.Fatalf("%d came after %d", v, last[v%2])
					}
					last[v%2] = v
				}
				if early.Load() != n/2 {
					t.Errorf("%d of the other key went on, want %d", early.Load(), n/2)
				}
				src.wantOutcomes(t, func(v int) Outcome {
					if v == 0 {
						return c.want
					}
					return Acked
				})
			})
		})
	}
}

// Held keys end with the graph, however it ends.
func TestFault_D10_HeldKeysAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newScript(500)
		src.forever = true
		var down atomic.Bool
		down.Store(true)
		slow := mapTo(src.source(), func(_ context.Context, v int) (int, error) {
			if down.Load() && v%5 != 0 {
				return 0, errors.New("down")
			}
			return v, nil
		}, Workers(3), KeyedBy(func(v int) int { return v % 50 }))
		run := func() *Running {
			r, err := New("g", To(slow, (&bag[int]{}).sink()), Faults(HoldKey(0, time.Second)),
				DrainTimeout(time.Hour)).Start(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			return r
		}
		if err := run().Stop(); err != nil {
			t.Error(err)
		}
		src.wantOutcomes(t, func(v int) Outcome {
			if v%5 == 0 {
				return Acked
			}
			return Nacked
		})
		src.next, src.settled = 0, map[int][]Settlement{}
		r := run()
		down.Store(false)
		if _, err := r.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		src.wantAllAcked(t)
	})
}

// If the source cannot redeliver, the stage retries in place, with a pause between tries.
func TestFault_D20_RetryAfterZeroHasAFloor(t *testing.T) {
	for name, fault := range map[string]struct {
		err    error
		policy Policy
	}{
		"verdict": {RetryAfter(0, errors.New("no")), DefaultPolicy},
		"policy":  {errors.New("no"), func(*Fault) Decision { return Decision{Do: ActRetry} }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				src := NewSource("count", func() Reader[int] { return &counter{max: 1} })
				stuck := mapTo(src, func(context.Context, int) (int, error) { calls++; return 0, fault.err })
				r, err := New("g", To(stuck, (&bag[int]{}).sink()), Faults(fault.policy)).Start(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				_ = r.Stop()
				if calls < 2 || calls > 120 {
					t.Errorf("%d calls in a second, want about 100", calls)
				}
			})
		})
	}
}

// RetryEvery waits for the same time before each retry.
func TestFault_D20_RetryEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		src := newScript(1)
		fails := mapTo(src.source(), func(context.Context, int) (int, error) {
			at = append(at, time.Since(began))
			return 0, errors.New("no")
		}, OnFault(RetryEvery(3, 2*time.Second, DeadLetter)))
		if err := New("g", To(fails, (&bag[int]{}).sink())).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := []time.Duration{0, 2 * time.Second, 4 * time.Second, 6 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("tries at %v, want %v", at, want)
		}
		src.wantOutcomes(t, func(int) Outcome { return Dead })
	})
}

// A message that cannot be retried has one try, and the first policy that is not a retry decides on
// it.
func TestFault_O3_TriesOfWhatNeverReachesAHandler(t *testing.T) {
	for name, policy := range map[string]Policy{
		"retry": Retry(5, time.Second, DeadLetter), "every": RetryEvery(5, time.Second, DeadLetter),
		"hold": HoldKey(0, time.Second), "default": DefaultPolicy,
	} {
		src := newScript(1)
		keyless := mapTo(src.source(), func(_ context.Context, v int) (int, error) { return v, nil },
			Workers(2), KeyedBy(func(int) int { panic("no key") }), OnFault(policy))
		if err := New("g", To(keyless, (&bag[int]{}).sink())).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if f := src.settled[0][0].Fault; f.Tries != 1 {
			t.Errorf("%s: %d tries, want 1", name, f.Tries)
		}
	}
}

// Errors name the user's types and distinguish singular and plural.
func TestFault_O3_WordsOfErrors(t *testing.T) {
	wrong := mapTo(newScript(1).source(), func(_ context.Context, v int) (int, error) { return v, nil },
		Workers(2), KeyedBy(func(s string) int { return len(s) }))
	err := New("g", To(wrong, (&bag[int]{}).sink())).Validate()
	if err == nil || !strings.Contains(err.Error(), "the key function is a func(string) int") ||
		strings.Contains(err.Error(), "keyer") {
		t.Error(err)
	}
	drained := &DrainError{DrainReport{Released: 1, Stuck: []Stuck{{"slow", 1}}}}
	if s := drained.Error(); !strings.Contains(s, "1 entry given back") || !strings.Contains(s, "slow (1 message)") {
		t.Error(s)
	}
}
