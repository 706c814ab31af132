package flow_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
)

func ExampleRunning_Recent() {
	full := flow.NewSink("store", func() flow.Writer[int] {
		return flow.WriterFunc[int](func(context.Context, []flow.Message[int]) error { return errors.New("disk full") })
	})
	r, err := flow.New("orders", flow.To(from(1), full), flow.Faults(flow.Drop)).Start(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := r.Wait(); err != nil {
		fmt.Println(err)
	}
	for _, e := range r.Recent() {
		fmt.Printf("%s %q %q %q\n", e.Kind, e.Stage, e.Do, e.Error)
	}
	// Output:
	// started "" "" ""
	// fault "store" "drop" "disk full"
	// ended "" "" ""
}
