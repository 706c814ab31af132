package gostreams

import (
	"context"
	"fmt"
	"reflect"

	streams "github.com/reugn/go-streams"
	goflow "github.com/reugn/go-streams/flow"

	"github.com/streamerson/streamerson-go/flow"
)

// TypeError reports a go-streams element that is not of the graph's type.
type TypeError struct {
	Position uint64 // of the element, from 0; counted per run, or per batch of a Func
	Got      string // its type; "<nil>" for a nil
	Want     string
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("gostreams: element %d is a %s, want a %s", e.Position, e.Got, e.Want)
}

// typeError returns the fault of an element that is not a T.
func typeError[T any](position uint64, element any) *TypeError {
	return &TypeError{Position: position, Got: fmt.Sprintf("%T", element), Want: reflect.TypeFor[T]().String()}
}

// Func makes a function of go-streams flows, for operators.Map after operators.Batch. Each call
// sends a batch through a pipeline that through builds for it, and returns the results in order of
// arrival. The graph keeps the batch until all its results are done, so nothing is lost if the
// process dies.
//
// The pipeline ends with the batch, so flows keep no state between batches. through must build new
// flows for each call, because a go-streams flow works once. An element that is not a U fails the
// batch with a *TypeError. When ctx is done the call returns its cause. A panic in a go-streams
// flow ends the process, because it runs on a goroutine of go-streams.
func Func[T, U any](through func(streams.Source) streams.Source) func(context.Context, []T) ([]U, error) {
	return func(ctx context.Context, in []T) ([]U, error) {
		src := &batch{out: make(chan any)}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		out := through(src).Out()
		fed := flow.Aside(func() error {
			defer close(src.out)
			for _, v := range in {
				select {
				case src.out <- v:
				case <-ctx.Done():
					return context.Cause(ctx) // the pipeline ends early, as if this were all
				}
			}
			return nil
		})
		values, err := collect[U](ctx, out)
		if err != nil {
			cancel()
			flow.Aside(func() error { // the flows end when their output has been taken
				for range out {
				}
				return nil
			})
			return nil, err
		}
		return values, <-fed
	}
}

// collect receives everything that a pipeline returns.
func collect[U any](ctx context.Context, out <-chan any) ([]U, error) {
	var values []U
	for n := uint64(0); ; n++ {
		select {
		case element, open := <-out:
			if !open {
				return values, nil
			}
			v, ok := element.(U)
			if !ok {
				return nil, typeError[U](n, element)
			}
			values = append(values, v)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// batch is the go-streams source of one call.
type batch struct{ out chan any }

func (b *batch) Out() <-chan any { return b.out }

func (b *batch) Via(f streams.Flow) streams.Flow {
	goflow.DoStream(b, f)
	return f
}
