package operators_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

// oneToOne are the operators that call a function per message, all built to call work and pass the
// value on. They must all behave alike.
type worker = func(context.Context, int) error

var oneToOne = map[string]func(flow.Source[int], worker, ...flow.StageOption) flow.Source[int]{
	"Map": func(in flow.Source[int], work worker, opts ...flow.StageOption) flow.Source[int] {
		return operators.Map(in, func(ctx context.Context, v int) (int, error) { return v, work(ctx, v) }, opts...)
	},
	"MapMessage": func(in flow.Source[int], work worker, opts ...flow.StageOption) flow.Source[int] {
		return operators.MapMessage(in, func(ctx context.Context, m flow.Message[int]) (int, error) {
			return m.Value, work(ctx, m.Value)
		}, opts...)
	},
	"Filter": func(in flow.Source[int], work worker, opts ...flow.StageOption) flow.Source[int] {
		return operators.Filter(
			in,
			func(ctx context.Context, v int) (bool, error) { return true, work(ctx, v) },
			opts...)
	},
	"FilterMap": func(in flow.Source[int], work worker, opts ...flow.StageOption) flow.Source[int] {
		return operators.FilterMap(in, func(ctx context.Context, v int) (int, bool, error) {
			return v, true, work(ctx, v)
		}, opts...)
	},
	"FlatMap": func(in flow.Source[int], work worker, opts ...flow.StageOption) flow.Source[int] {
		return operators.FlatMap(in, func(ctx context.Context, v int, emit func(int)) error {
			emit(v)
			return work(ctx, v)
		}, opts...)
	},
}

// manners are the ways to run a one-to-one operator. ordered reports whether the output keeps the
// order of the input.
var manners = map[string]struct {
	opts    []flow.StageOption
	ordered bool
}{
	"Fused":            {nil, true},
	"Async":            {[]flow.StageOption{flow.Async()}, true},
	"Workers":          {[]flow.StageOption{flow.Workers(4)}, true},
	"WorkersUnordered": {[]flow.StageOption{flow.Workers(4), flow.Unordered()}, false},
	"WorkersKeyedBy":   {[]flow.StageOption{flow.Workers(4), flow.KeyedBy(byThree)}, false},
}

func byThree(v int) int { return v % 3 }

func TestOneToOne(t *testing.T) {
	for name, op := range oneToOne {
		for manner, how := range manners {
			virtual(t, name+"/"+manner+"/passes on and acks", func(t *testing.T) {
				in, out := numbers(200), &box[int]{}
				busy := func(ctx context.Context, v int) error {
					return wait(ctx, time.Duration(v*7%5)*time.Millisecond)
				}
				run(t, flow.To(op(in.source(flow.MaxInFlight(32)), busy, how.opts...), out.sink()))
				in.allSettledAs(t, flow.Acked)
				if in.most > 32 {
					t.Errorf("%d entries in flight, the source has credits for 32", in.most)
				}
				got := out.values()
				if !how.ordered {
					for key := range 3 {
						one := slices.DeleteFunc(slices.Clone(got), func(v int) bool { return v%3 != key })
						if manner == "WorkersKeyedBy" && !slices.IsSorted(one) {
							t.Errorf("out of order within key %d: %v", key, one)
						}
					}
					slices.Sort(got)
				}
				if diff := cmp.Diff(sequence(200), got); diff != "" {
					t.Errorf("values (-want +got):\n%s", diff)
				}
			})
			virtual(t, name+"/"+manner+"/verdicts and errors", func(t *testing.T) {
				in, out := numbers(12), &box[int]{}
				var tries, reasons atomic.Int32
				work := func(_ context.Context, v int) error {
					switch v {
					case 1:
						return flow.Skip
					case 3:
						return flow.Reject(errBoom)
					case 5:
						return flow.RetryAfter(time.Minute, errBoom)
					case 7: // succeeds later
						if tries.Add(1) < 3 {
							return errBoom
						}
					case 8:
						reasons.Add(1)
						return errBoom
					case 9:
						panic(errBoom)
					}
					return nil
				}
				opts := append(slices.Clone(how.opts), flow.OnFault(flow.Retry(3, time.Second, flow.Nack)))
				run(t, flow.To(op(in.source(), work, opts...), out.sink()))
				in.outcomes(t, map[int]flow.Outcome{
					1: flow.Dropped, 3: flow.Dead, 5: flow.Nacked, 8: flow.Nacked, 9: flow.Nacked,
				})
				got := out.values()
				slices.Sort(got)
				if diff := cmp.Diff([]int{0, 2, 4, 6, 7, 10, 11}, got); diff != "" {
					t.Errorf("values (-want +got):\n%s", diff)
				}
				if n := reasons.Load(); n != 4 {
					t.Errorf("the hopeless one was tried %d times, want 1 and 3 retries", n)
				}
				if err := in.settled[9][0].Err(); !errors.Is(err, errBoom) {
					t.Errorf("the panic's value is lost: %v", err)
				} else if p := new(flow.PanicError); !errors.As(err, &p) ||
					!strings.Contains(string(p.Stack), "map_test.go") {
					t.Errorf("no stack of the panic: %v", err)
				}
				if f := in.settled[5][0].Fault; f == nil || f.After != time.Minute {
					t.Errorf("the delay asked for is lost: %+v", f)
				}
			})
			virtual(t, name+"/"+manner+"/stop during work", func(t *testing.T) {
				in, out := numbers(40), &box[int]{}
				r := start(t, flow.To(op(in.source(), func(ctx context.Context, v int) error {
					if v >= 10 {
						return wait(ctx, time.Hour)
					}
					return nil
				}, how.opts...), out.sink()))
				time.Sleep(time.Second)
				before := time.Now()
				if err := r.Stop(); err != nil {
					t.Errorf("Stop: %v", err)
				}
				if took := time.Since(before); took > time.Second {
					t.Errorf("Stop took %v", took)
				}
				in.unfinished(t, out.values())
				if n := len(out.values()); n > 10 {
					t.Errorf("%d values came through, though only 10 were handled", n)
				}
			})
			virtual(t, name+"/"+manner+"/drain finishes what is read", func(t *testing.T) {
				in, out := numbers(40), &box[int]{}
				in.stays = true
				r := start(t, flow.To(op(in.source(), func(ctx context.Context, v int) error {
					return wait(ctx, 100*time.Millisecond)
				}, how.opts...), out.sink()))
				time.Sleep(time.Second)
				if _, err := r.Drain(t.Context()); err != nil {
					t.Errorf("Drain: %v", err)
				}
				in.allSettledAs(t, flow.Acked)
				if n := len(out.values()); n != 40 {
					t.Errorf("%d values came through, want all 40", n)
				}
			})
		}
	}
}

func TestWorkers(t *testing.T) {
	virtual(t, "work at the same time", func(t *testing.T) {
		in, out := numbers(40), &box[int]{}
		began := time.Now()
		run(t, flow.To(operators.Map(in.source(), func(ctx context.Context, v int) (int, error) {
			return v, wait(ctx, time.Second)
		}, flow.Workers(8)), out.sink()))
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("40 messages of 1 s on 8 workers took %v", took)
		}
		out.want(t, sequence(40)...)
	})
	virtual(t, "one key at a time", func(t *testing.T) {
		in := numbers(60)
		var at [3]atomic.Int32
		run(t, flow.To(operators.Map(in.source(), func(ctx context.Context, v int) (int, error) {
			if at[v%3].Add(1) > 1 {
				t.Errorf("two messages of key %d at once", v%3)
			}
			defer at[v%3].Add(-1)
			return v, wait(ctx, time.Millisecond)
		}, flow.Workers(8), flow.KeyedBy(byThree)), discard[int]()))
		in.allSettledAs(t, flow.Acked)
	})
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := numbers(3)
		run(t, flow.To(operators.Map(in.source(), func(ctx context.Context, v int) (int, error) {
			if v == 1 {
				<-ctx.Done()
				return 0, ctx.Err()
			}
			return v, nil
		}, flow.Timeout(time.Second), flow.OnFault(flow.Nack)), discard[int]()))
		in.outcomes(t, map[int]flow.Outcome{1: flow.Nacked})
		if err := in.settled[1][0].Err(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
	})
}

func TestMapMessage(t *testing.T) {
	in, out := newFeed("a", "b"), &box[string]{}
	run(t, flow.To(operators.MapMessage(in.source(), func(_ context.Context, m flow.Message[string]) (string, error) {
		return m.ID() + m.Value + strconv.Itoa(m.Attempt()), nil
	}), out.sink()))
	out.want(t, "0a1", "1b1")
	if out.meta[1].ID != "1" {
		t.Errorf("the output's metadata is %+v, not the input's", out.meta[1])
	}
}

func TestFilter(t *testing.T) {
	in, out := numbers(10), &box[int]{}
	run(t, flow.To(operators.Filter(in.source(), func(_ context.Context, v int) (bool, error) { return v%4 == 1, nil }),
		out.sink()))
	out.want(t, 1, 5, 9)
	in.allSettledAs(t, flow.Acked)
}

func TestFilterMap(t *testing.T) {
	in, out := newFeed("1", "x", "3"), &box[int]{}
	run(t, flow.To(operators.FilterMap(in.source(), func(_ context.Context, s string) (int, bool, error) {
		n, err := strconv.Atoi(s)
		return n, err == nil, nil
	}), out.sink()))
	out.want(t, 1, 3)
	in.allSettledAs(t, flow.Acked)
}

func TestFlatMap(t *testing.T) {
	t.Run("none, one, many, more than a chunk", func(t *testing.T) {
		in, out := newFeed(0, 1, 3, 1000), &box[int]{}
		run(t, flow.To(operators.FlatMap(in.source(), func(_ context.Context, v int, emit func(int)) error {
			for i := range v {
				emit(i)
			}
			return nil
		}), out.sink()))
		out.want(t, slices.Concat(sequence(1), sequence(3), sequence(1000))...)
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "takes back what a failed call has emitted", func(t *testing.T) {
		in, out := numbers(4), &box[string]{}
		tries := 0
		run(t, flow.To(operators.FlatMap(in.source(), func(_ context.Context, v int, emit func(string)) error {
			emit(strconv.Itoa(v) + "a")
			if v == 2 {
				if tries++; tries < 3 {
					return errBoom
				}
			}
			emit(strconv.Itoa(v) + "b")
			if v == 1 {
				panic("one")
			}
			return nil
		}, flow.OnFault(func(f *flow.Fault) flow.Decision {
			if f.Meta.ID == "1" {
				return flow.Decision{Do: flow.ActDead}
			}
			return flow.Decision{Do: flow.ActRetry, After: time.Second}
		})), out.sink()))
		out.want(t, "0a", "0b", "2a", "2b", "3a", "3b")
		in.outcomes(t, map[int]flow.Outcome{1: flow.Dead})
	})
	virtual(t, "one bad output decides", func(t *testing.T) {
		in, out := numbers(4), &box[int]{each: func(_ context.Context, v int) error {
			if v == 21 {
				return flow.Reject(errBoom)
			}
			return nil
		}}
		run(t, flow.To(operators.FlatMap(in.source(), func(_ context.Context, v int, emit func(int)) error {
			emit(10 * v)
			emit(10*v + 1)
			emit(10*v + 2)
			return nil
		}), out.sink()))
		out.want(t, 0, 1, 2, 10, 11, 12, 20, 22, 30, 31, 32)
		in.outcomes(t, map[int]flow.Outcome{2: flow.Dead})
	})
	t.Run("emit outside of its call panics", func(t *testing.T) {
		in := numbers(2)
		var kept func(int)
		pass := operators.FlatMap(in.source(), func(_ context.Context, v int, emit func(int)) error {
			kept = emit
			return nil
		})
		run(t, flow.To(pass, discard[int]()))
		defer func() {
			if recover() == nil {
				t.Error("a late emit went unnoticed")
			}
		}()
		kept(1)
	})
}

func TestTap(t *testing.T) {
	t.Run("sees all and changes nothing", func(t *testing.T) {
		in, out := numbers(5), &box[int]{}
		var seen []int
		run(
			t,
			flow.To(operators.Tap(in.source(), func(_ context.Context, v int) { seen = append(seen, v) }), out.sink()),
		)
		out.want(t, 0, 1, 2, 3, 4)
		in.allSettledAs(t, flow.Acked)
		if diff := cmp.Diff(sequence(5), seen); diff != "" {
			t.Errorf("seen (-want +got):\n%s", diff)
		}
	})
	t.Run("panics", func(t *testing.T) {
		in, out := numbers(3), &box[int]{}
		run(t, flow.To(operators.Tap(in.source(), func(_ context.Context, v int) {
			if v == 1 {
				panic("one")
			}
		}, flow.OnFault(flow.DeadLetter)), out.sink()))
		out.want(t, 0, 2)
		in.outcomes(t, map[int]flow.Outcome{1: flow.Dead})
	})
	virtual(t, "stop during work", func(t *testing.T) {
		in, out := numbers(100), &box[int]{}
		r := start(t, flow.To(operators.Tap(in.source(), func(ctx context.Context, v int) {
			if v == 1 {
				<-ctx.Done()
			}
		}), out.sink()))
		time.Sleep(time.Second)
		if err := r.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
		if n := len(out.values()); n == 100 {
			t.Error("all went on in spite of the stop")
		}
		in.unfinished(t, out.values())
	})
}
