package flow_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
)

func TestFaultKinds(t *testing.T) {
	late, cancel := context.WithTimeout(t.Context(), -1)
	defer cancel()
	errs := []error{
		errors.New("no"), errors.New("no again"), fmt.Errorf("ask: %w", late.Err()),
		flow.Reject(late.Err()), flow.RetryAfter(time.Millisecond, nil), flow.Permanent(late.Err()),
		&flow.WriteError{Errs: []error{flow.Reject(errors.New("one of them"))}}, flow.Skip,
	}
	numbers := make([]int, len(errs)+1)
	for i := range numbers {
		numbers[i] = i
	}
	for i, err := range errs[:len(errs)-1] {
		want := []flow.FaultKind{flow.FaultError, flow.FaultError, flow.FaultTimeout, flow.FaultRejected,
			flow.FaultPostponed, flow.FaultPermanent, flow.FaultError}[i]
		if got := (&flow.Fault{Err: err}).Kind(); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
	fails := func(_ context.Context, i int) (int, error) {
		switch {
		case i == len(errs):
			panic(late.Err())
		case i == 4 || i == 5: // they stop or repeat
			return 0, flow.Skip
		}
		return 0, errs[i]
	}
	in := queueOf(numbers...)
	g := flow.New(
		"kinds",
		flow.To(mapTo(in.source(), fails, flow.Name("fails"), flow.OnFault(flow.Drop)), printing[int]()),
	)
	run, err := g.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, s := range run.Snapshot(t.Context()).Stages {
		want, all := map[flow.FaultKind]uint64(nil), uint64(0)
		if s.Name == "fails" {
			all, want = 6, map[flow.FaultKind]uint64{
				flow.FaultError: 3, flow.FaultTimeout: 1, flow.FaultRejected: 1, flow.FaultPanic: 1,
			}
		}
		if diff := cmp.Diff(want, s.FaultKinds); diff != "" || s.Faults != all {
			t.Errorf("%s: %d faults, %s", s.Name, s.Faults, diff)
		}
	}
}

// The kinds of faults tell a hook what to do about them.
func ExampleFault_Kind() {
	late := func(ctx context.Context, _ string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, 0)
		defer cancel()
		return "", fmt.Errorf("ask the warehouse: %w", ctx.Err())
	}
	asked := mapTo(queueOf("tea").source(), late, flow.OnFault(flow.Drop))
	err := flow.New("shop", flow.To(asked, printing[string]()), flow.OnEvent(flow.Hooks{
		Faulted: func(f *flow.Fault, _ flow.Decision) { fmt.Println(f.Kind()) },
	})).Run(context.Background())
	fmt.Println(err)
	// Output:
	// timeout
	// <nil>
}
