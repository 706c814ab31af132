package flow_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/streamerson/streamerson-go/flow"
)

// Dedupe lets the first message of each key through. Its state is made by the function given to Via, so a stage that is
// restarted starts afresh.
func Dedupe[T any, K comparable](in flow.Source[T], key func(T) K, opts ...flow.StageOption) flow.Source[T] {
	return flow.Via(in, "dedupe", func() flow.Handler[T, T] {
		seen := make(map[K]struct{})
		return flow.HandlerFunc[T, T](func(_ context.Context, m flow.Message[T], emit flow.Emit[T]) error {
			k := key(m.Value)
			if _, dup := seen[k]; !dup {
				seen[k] = struct{}{}
				emit(m)
			}
			return nil // neither emitted nor held: done
		})
	}, opts...)
}

// An operator of your own is a function from Source to Source.
func ExampleVia() {
	words := queueOf("Tea", "milk", "tea", "jam", "MILK")
	once := Dedupe(words.source(), strings.ToLower)
	err := flow.New("words", flow.To(once, printing[string]())).Run(context.Background())
	fmt.Println("acked:", words.acked, "error:", err)
	// Output:
	// Tea
	// milk
	// jam
	// acked: [Tea milk tea jam MILK] error: <nil>
}
