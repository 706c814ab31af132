package flow_test

import (
	"context"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// counter copies each word to the first output. It sends the number of words to the second output
// each minute and at the end.
type counter struct {
	n   int
	due time.Time
}

func (c *counter) count() {
	if c.n++; c.n == 1 {
		c.due = time.Now().Add(time.Minute)
	}
}

func (c *counter) Next() time.Time { return c.due }

func (c *counter) total() flow.Message[string] {
	m := flow.NewMessage(fmt.Sprintf("%d words", c.n), flow.Meta{})
	c.n, c.due = 0, time.Time{}
	return m
}

type routeCounter struct{ counter }

func (c *routeCounter) Handle(_ context.Context, m flow.Message[string], emit flow.RouteEmit[string]) error {
	c.count()
	emit(0, m)
	return nil
}

func (c *routeCounter) Ring(_ context.Context, emit flow.RouteEmit[string]) error {
	emit(1, c.total())
	return nil
}

func (c *routeCounter) End(ctx context.Context, emit flow.RouteEmit[string]) error {
	return c.Ring(ctx, emit)
}

// A handler with a timer. It reports to the second output each minute, even if no word arrives.
func ExampleRouteVia() {
	outs := flow.RouteVia(from("tea", "jam"), "count", 2,
		func() flow.RouteHandler[string, string] { return &routeCounter{} })
	var words, reports []string
	err := flow.New("words", flow.To(outs[0], into(&words)), flow.To(outs[1], into(&reports))).
		Run(context.Background())
	fmt.Println(words, reports, err)
	// Output:
	// [tea jam] [2 words] <nil>
}

type forkCounter struct{ counter }

func (c *forkCounter) Handle(
	_ context.Context, m flow.Message[string], word flow.Emit[string], _ flow.Emit[int],
) error {
	c.count()
	word(m)
	return nil
}

func (c *forkCounter) Ring(_ context.Context, _ flow.Emit[string], report flow.Emit[int]) error {
	report(flow.NewMessage(c.n, flow.Meta{}))
	c.n, c.due = 0, time.Time{}
	return nil
}

func (c *forkCounter) End(ctx context.Context, word flow.Emit[string], report flow.Emit[int]) error {
	return c.Ring(ctx, word, report)
}

// The same with outputs of two types.
func ExampleForkVia() {
	out, counts := flow.ForkVia(from("tea", "jam"), "count",
		func() flow.ForkHandler[string, string, int] { return &forkCounter{} })
	var words []string
	var reports []int
	err := flow.New("words", flow.To(out, into(&words)), flow.To(counts, into(&reports))).
		Run(context.Background())
	fmt.Println(words, reports, err)
	// Output:
	// [tea jam] [2] <nil>
}
