package flowtest_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
)

// Latest is a user-defined operator. It passes on the last value that arrived in each interval. The
// values in between are done as soon as a later one has come.
func Latest[T any](in flow.Source[T], every time.Duration, opts ...flow.StageOption) flow.Source[T] {
	return flow.Via(in, "latest", func() flow.Handler[T, T] { return &latest[T]{every: every} },
		append([]flow.StageOption{flow.Traits{Holds: 1, HoldsFor: every}}, opts...)...)
}

type latest[T any] struct {
	every time.Duration
	held  []flow.Held[T] // none or one
	due   time.Time
}

func (l *latest[T]) Handle(ctx context.Context, m flow.Message[T], _ flow.Emit[T]) error {
	if len(l.held) == 0 {
		l.due = time.Now().Add(l.every)
	} else {
		l.held[0].Done()
	}
	l.held = append(l.held[:0], flow.Hold(ctx, m))
	return nil
}

func (l *latest[T]) Next() time.Time { return l.due }

func (l *latest[T]) Ring(ctx context.Context, emit flow.Emit[T]) error {
	emit(flow.Join(ctx, l.held[0].Value, l.held))
	l.held, l.due = l.held[:0], time.Time{}
	return nil
}

func (l *latest[T]) End(ctx context.Context, emit flow.Emit[T]) error {
	if len(l.held) == 0 {
		return nil
	}
	return l.Ring(ctx, emit)
}

// This tests a user-defined operator in virtual time: two hours pass in a few milliseconds.
func Example() {
	test := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src, feed := flowtest.Feed[int](t)
			sink, got := flowtest.Collect[int](t)
			r := flowtest.Start(t, flow.To(Latest(src, time.Hour), sink))

			feed.Send(1, 2, 3)
			feed.WantAcked(1, 2) // they were superseded
			feed.WantOutstanding(1)
			time.Sleep(time.Hour + time.Minute)
			got.Want(3)
			feed.WantAcked(1, 2, 3)

			feed.Send(4)
			feed.Close() // the held value is passed on at the end
			if err := r.Wait(); err != nil {
				t.Fatal(err)
			}
			got.Want(3, 4)
		})
	}
	fmt.Println(testing.RunTests(func(string, string) (bool, error) { return true, nil },
		[]testing.InternalTest{{Name: "TestLatest", F: test}}))
	// Output: true
}

// The conformance suite for an operator with workers that keeps the order.
func ExampleTestOperator() {
	test := func(t *testing.T) {
		flowtest.TestOperator(t, flowtest.Traits[int]{Order: flowtest.Kept},
			func(in flow.Source[int]) flow.Source[int] {
				return flow.Step(in, "same", func() flow.StepFunc[int, int] {
					return func(_ context.Context, m flow.Message[int]) (flow.Message[int], bool, error) {
						return m, true, nil
					}
				}, flow.Workers(4))
			})
	}
	fmt.Println(testing.RunTests(func(string, string) (bool, error) { return true, nil },
		[]testing.InternalTest{{Name: "TestSame", F: test}}))
	// Output: true
}

// The conformance suite for sums. A sum does not reveal its inputs, so Check compares the total of
// the acked values with the total of the written ones.
func ExampleTestOperator_aggregator() {
	total := func(values []int) (sum int) {
		for _, v := range values {
			sum += v
		}
		return sum
	}
	test := func(t *testing.T) {
		flowtest.TestOperator(t, flowtest.Traits[int]{
			Holds:  10,   // the values of one batch,
			Joined: true, // which are acked together
			Check: func(acked, out []int) error {
				if want, got := total(acked), total(out); got != want {
					return fmt.Errorf("the total is %d, want %d", got, want)
				}
				return nil
			},
		}, func(in flow.Source[int]) flow.Source[int] {
			return operators.Map(operators.Batch(in, 10, time.Second), flow.Pure(total))
		})
	}
	fmt.Println(testing.RunTests(func(string, string) (bool, error) { return true, nil },
		[]testing.InternalTest{{Name: "TestSums", F: test}}))
	// Output: true
}
