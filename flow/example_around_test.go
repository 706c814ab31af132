package flow_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// A wrap waits until a service is ready.
func ExampleAround() {
	ready := time.Now().Add(5 * time.Millisecond)
	wait := func(ctx context.Context, call func(context.Context) error) error {
		if err := flow.Backoff(ctx, time.Until(ready)); err != nil {
			return err
		}
		return call(ctx)
	}
	post := func(_ context.Context, v string) error {
		fmt.Println(v, time.Now().After(ready))
		return nil
	}
	g := flow.New("post", flow.To(source.Of("a"), sink.Func(post, flow.Around(wait))))
	if err := g.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: a true
}

// Two calls run at once, and the first result counts.
func ExampleRace() {
	both := func(ctx context.Context, call func(context.Context) error) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // stops the other
		errs := make(chan error, 2)
		for range 2 {
			go func() { errs <- call(ctx) }()
		}
		if <-errs == nil {
			return nil
		}
		return <-errs
	}
	look := func(_ context.Context, id int) (string, error) { return fmt.Sprint("name of ", id), nil }
	names := operators.Map(source.Of(1), look, flow.Race(both))
	for name, err := range flow.Values(context.Background(), names) {
		fmt.Println(name, err)
	}
	// Output: name of 1 <nil>
}

// An operator with a fallback calls its function outside of the stage with the options.
func ExampleSurrounded() {
	tell := func(ctx context.Context, call func(context.Context) error) error {
		fmt.Println("before")
		defer fmt.Println("after")
		return call(ctx)
	}
	v, err := flow.Surrounded(context.Background(), []flow.StageOption{flow.Around(tell)},
		func(context.Context) (int, error) { return 7, nil })
	fmt.Println(v, err)
	// Output:
	// before
	// after
	// 7 <nil>
}

func ExampleBackoff() {
	tries := 0
	f := func(ctx context.Context, v string) (string, error) {
		for tries++; tries < 3; tries++ {
			if err := flow.Backoff(ctx, time.Millisecond); err != nil {
				return "", err
			}
		}
		return v, nil
	}
	for v, err := range flow.Values(context.Background(), operators.Map(source.Of("a"), f)) {
		fmt.Println(v, tries, err)
	}
	// Output: a 3 <nil>
}

// A merge that reads its inputs one after the other. The second source reads nothing before the first
// has ended.
func ExampleInTurn() {
	first := flow.Gather("first", []flow.Source[int]{source.Of(1, 2), source.Of(3)},
		func() flow.GatherHandler[int, int] { return &oneAfterOther{} }, flow.InTurn())
	for v := range flow.Values(context.Background(), first) {
		fmt.Println(v)
	}
	// Output:
	// 1
	// 2
	// 3
}

type oneAfterOther struct{}

func (oneAfterOther) Handle(_ context.Context, _ int, m flow.Message[int], emit flow.Emit[int]) error {
	emit(m)
	return nil
}

func (oneAfterOther) Pick(open []bool) []int { return []int{slices.Index(open, true)} }

func ExampleMessage_Joined() {
	batches := operators.Batch(source.Of(1, 2, 3), 2, time.Minute)
	sizes := operators.MapMessage(batches, func(_ context.Context, m flow.Message[[]int]) (int, error) {
		return m.Joined(), nil
	})
	for n := range flow.Values(context.Background(), sizes) {
		fmt.Println(n)
	}
	// Output:
	// 2
	// 0
}
