package flow

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// leasedScript is a script that can lose its entries.
type leasedScript struct {
	*script
	told func(ids []string)
}

func (s *leasedScript) lose(ids []string) {
	s.mu.Lock()
	told := s.told
	s.mu.Unlock()
	told(ids)
}

type leasedReader struct {
	scriptReader
	s *leasedScript
}

func (r *leasedReader) OnLeaseLost(lost func([]string)) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.told = lost
}

func newLeased(n int) *leasedScript { return &leasedScript{script: newScript(n)} }

func (s *leasedScript) source() Source[int] {
	return NewSource(
		"leased",
		func() Reader[int] { return &leasedReader{scriptReader{script: s.script}, s} },
		s.opts...)
}

// wantLost checks how the entries ended: the lost ones are Nacked and marked, the others acked.
func (s *leasedScript) wantLost(t *testing.T, lost ...int) {
	t.Helper()
	for v, all := range s.settled {
		want := Settlement{Outcome: Acked}
		if slices.Contains(lost, v) {
			want = Settlement{Outcome: Nacked, Lost: true}
		}
		if len(all) != 1 || all[0].Outcome != want.Outcome || all[0].Lost != want.Lost || all[0].Fault != nil {
			t.Errorf("entry %d settled as %+v, want %v, lost %v", v, all, want.Outcome, want.Lost)
		}
	}
	if len(s.settled) != s.next {
		t.Errorf("%d of %d entries settled", len(s.settled), s.next)
	}
}

// Only the handler of a lost entry has its context cancelled.
func TestLeaseLostCancelsItsHandlerOnly(t *testing.T) {
	for name, opts := range map[string][]StageOption{
		"fused": nil, "workers": {Workers(3)}, "unordered": {Workers(3), Unordered()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src, out := newLeased(20), &bag[int]{}
				var mu sync.Mutex
				causes := map[int]error{}
				slow := mapTo(src.source(), func(ctx context.Context, v int) (int, error) {
					select {
					case <-time.After(time.Second):
						return v, nil
					case <-ctx.Done():
						mu.Lock()
						causes[v] = context.Cause(ctx)
						mu.Unlock()
						return 0, ctx.Err()
					}
				}, append(opts, OnFault(Stop))...)
				r := start(t, New("g", To(slow, out.sink())))
				time.Sleep(500 * time.Millisecond)
				src.lose([]string{"0", "7"}) // one being handled, one (or, with workers, none) not begun
				if err := r.Wait(); err != nil {
					t.Fatal(err)
				}
				src.wantLost(t, 0, 7)
				if !errors.Is(causes[0], ErrLeaseLost) || len(causes) != 1 {
					t.Errorf("cancelled: %v, want only 0, by ErrLeaseLost", causes)
				}
				want := slices.DeleteFunc(upTo(20), func(v int) bool { return v == 0 || v == 7 })
				got := slices.Clone(out.values())
				slices.Sort(got)
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("values (-want +got):\n%s", d)
				}
			})
		})
	}
}

// A handler that ignores its context finishes. Its entry settles as acked and is marked as lost, so
// that the Reader can leave it alone.
func TestLeaseLostOfADeafHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, out := newLeased(2), &bag[int]{}
		deaf := mapTo(src.source(), func(_ context.Context, v int) (int, error) {
			time.Sleep(time.Second)
			return v, nil
		})
		r := start(t, New("g", To(deaf, out.sink())))
		time.Sleep(500 * time.Millisecond)
		src.lose([]string{"0", "nobody"})
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		if st := src.settled[0][0]; st.Outcome != Acked || !st.Lost {
			t.Errorf("the lost entry settled as %v, lost %v", st.Outcome, st.Lost)
		}
		if st := src.settled[1][0]; st.Outcome != Acked || st.Lost {
			t.Errorf("the other entry settled as %v, lost %v", st.Outcome, st.Lost)
		}
		if s := r.Snapshot(t.Context()).Sources[0]; s.Lost != 1 {
			t.Errorf("snapshot counts %d lost", s.Lost)
		}
	})
}

// A batch continues while it owns at least one of its entries.
func TestLeaseLostOfABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newLeased(4)
		var cancelled atomic.Int32
		w := NewSink("slow", func() Writer[[]int] {
			return WriterFunc[[]int](func(ctx context.Context, _ []Message[[]int]) error {
				select {
				case <-time.After(time.Second):
					return nil
				case <-ctx.Done():
					cancelled.Add(1)
					return context.Cause(ctx)
				}
			})
		}, ChunkSize(1), Async())
		r := start(t, New("g", To(batch(src.source(), 2, 0), w)))
		time.Sleep(300 * time.Millisecond)
		src.lose([]string{"0"})
		time.Sleep(300 * time.Millisecond)
		if cancelled.Load() != 0 {
			t.Error("cancelled although one entry was not lost")
		}
		time.Sleep(600 * time.Millisecond) // the second batch
		src.lose([]string{"2", "3"})
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		if n := cancelled.Load(); n != 1 {
			t.Errorf("cancelled %d times, want once", n)
		}
		for v, want := range map[int]Outcome{0: Acked, 1: Acked, 2: Nacked, 3: Nacked} {
			if st := src.settled[v][0]; st.Outcome != want || st.Fault != nil {
				t.Errorf("entry %d settled as %v (%v), want %v", v, st.Outcome, st.Err(), want)
			}
		}
	})
}

// A message that waits for a retry is not retried once its entry is lost.
func TestLeaseLostEndsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newLeased(1)
		var tries atomic.Int32
		failing := mapTo(src.source(), func(context.Context, int) (int, error) {
			tries.Add(1)
			return 0, errors.New("no")
		}, OnFault(Retry(100, time.Second, Stop)))
		r := start(t, New("g", To(failing, (&bag[int]{}).sink())))
		time.Sleep(100 * time.Millisecond)
		before := tries.Load()
		src.lose([]string{"0"})
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		src.wantLost(t, 0)
		if n := tries.Load() - before; n != 0 {
			t.Errorf("%d tries after the loss", n)
		}
	})
}

// An entry that is lost before its turn in a batch is not handled, and the message in progress
// continues. That holds in each stage of a lane.
func TestLeaseLostWithinABatch(t *testing.T) {
	for name, opts := range map[string][]StageOption{"plain": nil, "timeout": {Timeout(time.Minute)}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src, out := newLeased(100), &bag[int]{}
				var handled []int
				handle := func(when int, lost ...string) func(context.Context, int) (int, error) {
					return func(ctx context.Context, v int) (int, error) {
						handled = append(handled, v)
						if v == when {
							src.lose(lost)
						}
						return v, ctx.Err()
					}
				}
				first := mapTo(src.source(), handle(50, "48", "52"), opts...)
				r := start(t, New("g", To(mapTo(first, handle(70, "72"), opts...), out.sink())))
				if err := r.Wait(); err != nil {
					t.Fatal(err)
				}
				not := func(v int) func(int) bool { return func(x int) bool { return x != v } }
				for v, want := range map[int]int{50: 2, 52: 0, 53: 2, 70: 2} {
					if n := len(slices.DeleteFunc(slices.Clone(handled), not(v))); n != want {
						t.Errorf("%d was handled %d times, want %d", v, n, want)
					}
				}
				if got := out.values(); slices.Contains(got, 52) || slices.Contains(got, 72) {
					t.Errorf("lost ones were written: %v", got)
				}
				for v := range 100 {
					all := src.settled[v]
					if len(all) != 1 || all[0].Fault != nil || all[0].Outcome != Acked && !all[0].Lost {
						t.Errorf("entry %d settled as %+v", v, all)
					}
				}
			})
		})
	}
}

// A loss at any moment never cancels the wrong message and never loses one.
func TestLeaseLostAtAnyMoment(t *testing.T) {
	const n = 20_000
	src, out := newLeased(n), &bag[int]{}
	src.perRead = 50
	var wrong []int
	var mu sync.Mutex
	lost := make(map[int]bool)
	busy := mapTo(src.source(), func(ctx context.Context, v int) (int, error) {
		if v%64 == 0 {
			mu.Lock()
			lost[v] = true
			mu.Unlock()
			go src.lose([]string{itoa(v)}) // arrives now, later, or long after the message is done
		}
		if ctx.Err() != nil {
			mu.Lock()
			if !lost[v] {
				wrong = append(wrong, v)
			}
			mu.Unlock()
			return 0, ctx.Err()
		}
		return v, nil
	})
	r := start(t, New("g", To(busy, out.sink())))
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(wrong) > 0 {
		t.Errorf("interrupted by the loss of another entry: %v", wrong)
	}
	for v := range n {
		all := src.settled[v]
		if len(all) != 1 || all[0].Outcome != Acked && !all[0].Lost {
			t.Fatalf("entry %d settled as %+v", v, all)
		}
	}
}
