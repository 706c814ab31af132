package flow_test

import (
	"context"
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
)

// inSequence passes its inputs on one after the other.
type inSequence struct{}

// Pick selects the inputs to read from: only the first that has not ended.
func (inSequence) Pick(open []bool) []int {
	for port, is := range open {
		if is {
			return []int{port}
		}
	}
	return nil
}

func (inSequence) Handle(_ context.Context, _ int, m flow.Message[string], emit flow.Emit[string]) error {
	emit(m)
	return nil
}

// A fan-in that depends on the input a message comes from: first the history, then new messages.
func ExampleGather() {
	history, news := from("1969", "1989"), from("today")
	all := flow.Gather("sequence", []flow.Source[string]{history, news},
		func() flow.GatherHandler[string, string] { return inSequence{} })
	fmt.Println(flow.New("news", flow.To(all, printing[string]())).Run(context.Background()))
	// Output:
	// 1969
	// 1989
	// today
	// <nil>
}
