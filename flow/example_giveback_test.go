package flow_test

import (
	"context"
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
)

// pairUp passes on two values at a time.
type pairUp struct{ first []flow.Held[string] }

func (p *pairUp) Handle(ctx context.Context, m flow.Message[string], emit flow.Emit[string]) error {
	p.first = append(p.first, flow.Hold(ctx, m))
	if len(p.first) == 2 {
		emit(flow.Join(ctx, p.first[0].Value+" and "+p.first[1].Value, p.first))
		p.first = nil
	}
	return nil
}

// End gives a value without a partner back: it is not a failure. If it cannot go back, it goes on alone.
func (p *pairUp) End(_ context.Context, emit flow.Emit[string]) error {
	for _, h := range p.first {
		if h.CanGoBack() {
			h.GiveBack()
			continue
		}
		emit(h.Message)
		h.Done()
	}
	return nil
}

func ExampleHeld_GiveBack() {
	couples := flow.Via(from("salt", "pepper", "sugar"), "pair up",
		func() flow.Handler[string, string] { return &pairUp{} }, flow.Traits{Holds: 2, Joins: true})
	fmt.Println(flow.New("kitchen", flow.To(couples, printing[string]())).Run(context.Background()))
	// Output:
	// salt and pepper
	// sugar
	// <nil>
}
