package flow_test

import (
	"context"
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
)

// zip pairs the n-th message of one input with the n-th of the other. It holds messages that wait
// for their partner.
type zip struct {
	left  []flow.Held[string]
	right []flow.Held[int]
}

func (z *zip) Left(ctx context.Context, m flow.Message[string], emit flow.Emit[string]) error {
	z.left = append(z.left, flow.Hold(ctx, m))
	z.match(emit)
	return nil
}

func (z *zip) Right(ctx context.Context, m flow.Message[int], emit flow.Emit[string]) error {
	z.right = append(z.right, flow.Hold(ctx, m))
	z.match(emit)
	return nil
}

// Pick reads the side that lags behind, so that no more than one message is held.
func (z *zip) Pick(open []bool) []int {
	switch {
	case len(z.left) > 0:
		return []int{1}
	case len(z.right) > 0 || !open[1]:
		return []int{0}
	default:
		return []int{0, 1}
	}
}

func (z *zip) match(emit flow.Emit[string]) {
	for len(z.left) > 0 && len(z.right) > 0 {
		l, r := z.left[0], z.right[0]
		z.left, z.right = z.left[1:], z.right[1:]
		emit(flow.Derive(l.Message, fmt.Sprintf("%s costs %d", l.Value, r.Value)))
		l.Done()
		r.Done()
	}
}

// End releases the messages that have found no partner.
func (z *zip) End(context.Context, flow.Emit[string]) error {
	for _, l := range z.left {
		l.Done()
	}
	for _, r := range z.right {
		r.Done()
	}
	return nil
}

// Two inputs of different types become one.
func ExamplePair() {
	goods, prices := from("tea", "jam", "milk"), from(3, 4)
	labels := flow.Pair("label", goods, prices,
		func() flow.PairHandler[string, int, string] { return &zip{} }, flow.Traits{Holds: 1})
	fmt.Println(flow.New("shop", flow.To(labels, printing[string]())).Run(context.Background()))
	// Output:
	// tea costs 3
	// jam costs 4
	// <nil>
}
