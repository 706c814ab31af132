package gostreams

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	streams "github.com/reugn/go-streams"
	goflow "github.com/reugn/go-streams/flow"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
)

func same(in streams.Source) streams.Source {
	return in.Via(goflow.NewMap(func(v int) int { return v }, 1))
}

func TestFlowContract(t *testing.T) {
	flowtest.TestOperator(t, flowtest.Traits[int]{Holds: 8, Joined: true},
		func(in flow.Source[int]) flow.Source[int] { return Flow[int, int](in, 4, time.Millisecond, same) })
}

// Flows that drop and multiply values keep the entries of their batch until all results are done.
func TestFlowAcksWithItsResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, feed := flowtest.Feed[int](t, flowtest.Redeliver(2))
		out, got := flowtest.Collect[int](t)
		oddTwice := Flow[int, int](in, 3, time.Second, func(in streams.Source) streams.Source {
			return in.Via(goflow.NewFlatMap(func(v int) []int {
				if v%2 == 0 {
					return nil
				}
				return []int{v, v}
			}, 1))
		})
		refused := errors.New("refused")
		got.FailOn(func(m flow.Message[int]) error {
			if m.Attempt() < 2 && m.Value == 3 {
				return refused
			}
			return nil
		})
		r := flowtest.Start(t, flow.To(oddTwice, out, flow.OnFault(flow.Nack)))
		feed.Send(1, 2, 3, 4, 6, 8)
		feed.WantNacked(1, 2, 3) // the whole batch of the failed result
		feed.WantAcked(4, 6, 8, 1, 2, 3)
		feed.Close()
		if err := r.Wait(); err != nil {
			t.Error(err)
		}
		if values := got.Values(); !slices.Contains(values, 3) || slices.Contains(values, 4) {
			t.Errorf("got %v, want the odd values", values)
		}
	})
}

func TestFlowMistakes(t *testing.T) {
	in, _ := flowtest.Feed[int](t)
	out, _ := flowtest.Collect[int](t)
	err := flow.New("g", flow.To(Flow[int, int](in, 0, time.Second, nil), out)).Validate()
	var fields []string
	for _, one := range err.(interface{ Unwrap() []error }).Unwrap() {
		var b *flow.BuildError
		if errors.As(one, &b) {
			fields = append(fields, b.Stage+" "+b.Field)
		}
	}
	if want := []string{"batch n", "go-streams f"}; !slices.Equal(fields, want) {
		t.Errorf("mistakes in %q, want %q: %v", fields, want, err)
	}
}
