package flowtest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
)

// mistakes are operators, sources and sinks that break their promises. The conformance tests must
// report them.
var mistakes = map[string]func(t *testing.T){
	"loses a value": operatorWith(func(in flow.Source[int]) flow.Source[int] {
		return operators.Filter(in, func(_ context.Context, v int) (bool, error) { return v != 33, nil })
	}),
	"doubles a value": operatorWith(func(in flow.Source[int]) flow.Source[int] {
		return operators.FlatMap(in, func(_ context.Context, v int, emit func(int)) error {
			emit(v)
			if v == 33 {
				emit(v)
			}
			return nil
		})
	}),
	"does not keep the order": operatorWith(func(in flow.Source[int]) flow.Source[int] {
		return flow.Via(in, "swap", func() flow.Handler[int, int] { return &swapper{} }, flow.Traits{Holds: 2})
	}),
	"holds for ever": operatorWith(func(in flow.Source[int]) flow.Source[int] {
		return flow.Via(in, "hold", func() flow.Handler[int, int] {
			return flow.HandlerFunc[int, int](
				func(ctx context.Context, m flow.Message[int], emit flow.Emit[int]) error {
					if m.Value == 33 {
						flow.Hold(ctx, m)
						return nil
					}
					emit(m)
					return nil
				},
			)
		})
	}),
	"cuts the lineage": operatorWith(func(in flow.Source[int]) flow.Source[int] {
		return flow.Via(in, "cut", func() flow.Handler[int, int] {
			return flow.HandlerFunc[int, int](func(_ context.Context, m flow.Message[int], emit flow.Emit[int]) error {
				emit(flow.NewMessage(m.Value, m.Meta()))
				return nil
			})
		})
	}),
	"carries state into the next run": operatorWith(func(in flow.Source[int]) flow.Source[int] {
		seen := make(map[int]bool)
		var mu sync.Mutex
		return operators.Filter(in, func(_ context.Context, v int) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			was := seen[v]
			seen[v] = true
			return !was, nil
		})
	}),
	"sums miss a value": sumsWith(func() flow.Handler[[]int, int] {
		return summing(func(_ context.Context, m flow.Message[[]int], total int, emit flow.Emit[int]) {
			if m.Value[0] == 0 {
				total -= m.Value[len(m.Value)-1]
			}
			emit(flow.Derive(m, total))
		})
	}),
	"sums are acked before they are written": sumsWith(func() flow.Handler[[]int, int] {
		return summing(func(_ context.Context, m flow.Message[[]int], total int, emit flow.Emit[int]) {
			emit(flow.NewMessage(total, m.Meta()))
		})
	}),
	"sums go on in the next run": func(t *testing.T) {
		flowtest.TestOperator(t, flowtest.Traits[int]{Holds: 7, Joined: true, Check: sameTotal},
			func(in flow.Source[int]) flow.Source[int] {
				total := 0 // of the last batch of a run
				batches := operators.Batch(in, 7, time.Minute)
				return operators.Map(batches, func(_ context.Context, b []int) (int, error) {
					for _, v := range b {
						total += v
					}
					sum := total
					if len(b) == 7 {
						total = 0
					}
					return sum, nil
				})
			})
	},
	"sums of failed batches are written": func(t *testing.T) {
		sums := func(in flow.Source[int], f func(int) error, opts ...flow.StageOption) flow.Source[int] {
			kept := 0 // of failed calls; one goroutine at a time uses it
			return operators.Map(operators.Batch(in, 7, time.Minute), func(_ context.Context, b []int) (int, error) {
				for _, v := range b {
					kept += v
					if err := f(v); err != nil {
						return 0, err
					}
				}
				total := kept
				kept = 0
				return total, nil
			}, opts...)
		}
		flowtest.TestOperator(t, flowtest.Traits[int]{Holds: 7, Joined: true, Check: sameTotal, Failing: sums},
			func(in flow.Source[int]) flow.Source[int] { return sums(in, same) })
	},
	"source forgets nacks": func(t *testing.T) {
		flowtest.TestSource(
			t,
			flowtest.SourceTraits[int]{Make: func(i int) int { return i }, Redelivers: true, Many: 20},
			func(_ *testing.T, values []int) flowtest.SourceBackend[int] {
				return flowtest.SourceBackend[int]{Open: func(opts ...flow.StageOption) flow.Source[int] {
					return flow.NewSource(
						"bounded",
						func() flow.Reader[int] { return &forgetful{bounded{values: values}} },
						append(opts, flow.Traits{Redelivers: true})...)
				}}
			},
		)
	},
	"source loses what it reads when that fails": breaking(func(m *memory) {
		m.queue = m.queue[min(1, len(m.queue)):]
	}, false),
	"source ignores that a commit fails": breaking(func(*memory) {}, true),
	"source delivers again without need": breaking(func(m *memory) {
		m.queue = slices.Insert(m.queue, 0, memoryEntry{id: 0, value: 0, attempt: -1}) // before the last value
	}, false),
	"source does not notice": func(t *testing.T) {
		flowtest.TestSource(t, flowtest.SourceTraits[int]{Make: func(i int) int { return i }, Many: 20},
			func(_ *testing.T, values []int) flowtest.SourceBackend[int] {
				return flowtest.SourceBackend[int]{
					Open: func(opts ...flow.StageOption) flow.Source[int] {
						return flow.NewSource("bounded", func() flow.Reader[int] { return &bounded{values: values} },
							opts...)
					},
					Break: func(flowtest.Breakage) (func() bool, func()) {
						return func() bool { return false }, func() {}
					},
				}
			})
	},
	"sink loses a value": func(t *testing.T) {
		flowtest.TestSink(t, flowtest.SinkTraits[int]{Make: func(i int) int { return i }},
			func(*testing.T) flowtest.SinkBackend[int] {
				var mu sync.Mutex
				var written []int
				return flowtest.SinkBackend[int]{
					Open: func(opts ...flow.StageOption) flow.Sink[int] {
						return flow.NewSink("lossy", func() flow.Writer[int] {
							return flow.WriterFunc[int](func(_ context.Context, chunk []flow.Message[int]) error {
								mu.Lock()
								defer mu.Unlock()
								for _, m := range chunk {
									if m.Value != 7 {
										written = append(written, m.Value)
									}
								}
								return nil
							})
						}, opts...)
					},
					Written: func() ([]int, error) {
						mu.Lock()
						defer mu.Unlock()
						return slices.Clone(written), nil
					},
				}
			})
	},
	"feed left unsettled": func(t *testing.T) {
		src, feed := flowtest.Feed[int](t)
		sink, got := flowtest.Collect[int](t)
		got.Block()
		feed.Send(1)
		r, err := flow.New("left", flow.To(src, sink)).Start(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Stop() })
		feed.WantOutstanding(1)
		t.Cleanup(func() { feed.WantOutstanding(0) })
		feed.Patience = 1
	},
	"function's error is ignored": func(t *testing.T) {
		flowtest.TestOperator(t, flowtest.Traits[int]{
			Failing: func(in flow.Source[int], f func(int) error, opts ...flow.StageOption) flow.Source[int] {
				return operators.Map(
					in,
					func(_ context.Context, v int) (int, error) { _ = f(v); return v, nil },
					opts...)
			},
		}, func(in flow.Source[int]) flow.Source[int] { return mapped(in, same) })
	},
	"chaos": func(t *testing.T) {
		src, feed := flowtest.Feed[int](t)
		sink, got := flowtest.Collect[int](t)
		feed.Send(1, 2, 3)
		feed.Close()
		chaos := flowtest.Chaos(t, rand.Uint64(), flowtest.Rates{Fail: 1}, src, flow.OnFault(flow.Drop))
		_ = flowtest.Run(t, flow.To(chaos, sink))
		got.Patience = 1
		got.Want(1, 2, 3)
	},
}

// breaking tests a memory that makes a mistake when an operation fails.
func breaking(hurt func(*memory), commits bool) func(*testing.T) {
	return func(t *testing.T) {
		flowtest.TestSource(t, flowtest.SourceTraits[int]{
			Make: func(i int) int { return i }, Many: 20, Endless: true, Redelivers: true, DeadLetters: true,
			Resumes: true,
		}, func(_ *testing.T, values []int) flowtest.SourceBackend[int] {
			m := newMemory(values)
			m.hurt, m.careless = hurt, commits
			return flowtest.SourceBackend[int]{Open: m.open, Break: m.damage, Pending: func() (int, error) {
				m.mu.Lock()
				defer m.mu.Unlock()
				return len(m.pending), nil
			}}
		})
	}
}

func operatorWith(op func(flow.Source[int]) flow.Source[int]) func(t *testing.T) {
	return func(t *testing.T) { flowtest.TestOperator(t, flowtest.Traits[int]{}, op) }
}

// sumsWith tests an operator that turns batches into sums.
func sumsWith(open func() flow.Handler[[]int, int]) func(t *testing.T) {
	return func(t *testing.T) {
		flowtest.TestOperator(t, flowtest.Traits[int]{Holds: 7, Joined: true, Check: sameTotal},
			func(in flow.Source[int]) flow.Source[int] {
				return flow.Via(operators.Batch(in, 7, time.Minute), "sum", open)
			})
	}
}

// summing is a handler that emits something for the total of a batch.
func summing(
	emits func(ctx context.Context, m flow.Message[[]int], total int, emit flow.Emit[int]),
) flow.Handler[[]int, int] {
	return flow.HandlerFunc[[]int, int](func(ctx context.Context, m flow.Message[[]int], emit flow.Emit[int]) error {
		total := 0
		for _, v := range m.Value {
			total += v
		}
		emits(ctx, m, total, emit)
		return nil
	})
}

// sameTotal is the Check of these sums.
func sameTotal(acked, out []int) error {
	total := 0
	for _, v := range acked {
		total += v
	}
	for _, v := range out {
		total -= v
	}
	if total != 0 {
		return fmt.Errorf("the sums miss %d", total)
	}
	return nil
}

// forgetful receives nacks and ignores them.
type forgetful struct{ bounded }

func (*forgetful) Commit(context.Context, []flow.Settlement) error { return nil }

// swapper passes pairs on the wrong way round.
type swapper struct{ held []flow.Held[int] }

func (s *swapper) Handle(ctx context.Context, m flow.Message[int], emit flow.Emit[int]) error {
	if len(s.held) == 0 {
		s.held = append(s.held, flow.Hold(ctx, m))
		return nil
	}
	emit(m)
	return s.End(ctx, emit)
}

func (s *swapper) End(ctx context.Context, emit flow.Emit[int]) error {
	for i := range s.held {
		emit(flow.Join(ctx, s.held[i].Value, s.held[i:i+1]))
	}
	s.held = s.held[:0]
	return nil
}

// TestFindsMistakes runs each mistake in a process of its own, where it may fail.
func TestFindsMistakes(t *testing.T) {
	if which := os.Getenv("FLOWTEST_MISTAKE"); which != "" {
		mistakes[which](t)
		return
	}
	for name := range mistakes {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFindsMistakes$")
			cmd.Env = append(os.Environ(), "FLOWTEST_MISTAKE="+name)
			out, err := cmd.CombinedOutput()
			var failed *exec.ExitError
			if !errors.As(err, &failed) {
				t.Errorf("it passes (%v):\n%s", err, out)
			}
		})
	}
}
