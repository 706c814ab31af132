package scatter_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/scatter"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// The words of a text are counted by workers, one line each. Origin and workers are usually separate
// programs.
func ExampleOut() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	rdb, _, done, err := embedded.Open(ctx, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done()
	lines := scatter.Config[string, int]{Name: "lines", Within: time.Minute} // both ends have it

	count := func(_ context.Context, line string) (int, error) { return len(strings.Fields(line)), nil }
	worker, err := flow.New("worker", scatter.Work(rdb, lines, count, flow.Workers(2))).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}

	texts := source.Of("to be\nor not to be\nthat is the question")
	split := func(_ context.Context, text string) ([]string, error) { return strings.Split(text, "\n"), nil }
	counted := scatter.Out(texts, rdb, lines, split)
	print := sink.Func(func(_ context.Context, g scatter.Gathered[string, int]) error {
		fmt.Println(g.Values())
		return nil
	})
	fmt.Println(flow.New("origin", flow.To(counted, print)).Run(ctx))
	stop()
	fmt.Println(worker.Wait())
	// Output:
	// [2 4 4]
	// <nil>
	// <nil>
}

// A worker rejects what it can never do. The origin goes on without it.
func ExampleWork() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	rdb, _, done, err := embedded.Open(ctx, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done()
	cfg := scatter.Config[int, int]{Name: "inverse", Partial: true}
	inverse := func(_ context.Context, n int) (int, error) {
		if n == 0 {
			return 0, flow.Reject(fmt.Errorf("%d has no inverse", n))
		}
		return 100 / n, nil
	}
	worker, err := flow.New("worker", scatter.Work(rdb, cfg, inverse)).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	self := func(_ context.Context, ns []int) ([]int, error) { return ns, nil }
	out := scatter.Out(source.Of([]int{5, 0, 4}), rdb, cfg, self)
	for g, err := range flow.Values(ctx, out) {
		fmt.Println(g.Values(), g.Parts[1].Err, err)
	}
	stop()
	fmt.Println(worker.Wait())
	// Output:
	// [20 25] scatter: part 1 failed: rejected: 0 has no inverse <nil>
	// <nil>
}
