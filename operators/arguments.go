package operators

import (
	"context"
	"fmt"
	"slices"

	"github.com/streamerson/streamerson-go/flow"
)

// with appends the user's options to the operator's own, so that the user's win where both set the
// same.
func with(opts []flow.StageOption, own ...flow.StageOption) []flow.StageOption {
	return slices.Concat(own, opts)
}

// stateless marks stages that keep nothing between the calls of the user's function.
var stateless = flow.Traits{Stateless: true}

// function reports a function argument that is nil.
func function(field string, given bool) flow.StageOption {
	if given {
		return nil
	}
	return flow.Invalid(field, "the function is nil", "give a function")
}

// atLeastOne reports a count that is not positive.
func atLeastOne(field string, n int, what string) flow.StageOption {
	if n > 0 {
		return nil
	}
	return flow.Invalid(field, fmt.Sprintf("%d %s", n, what), "give 1 or more")
}

// mistaken returns an operator for arguments that are too wrong to be wired. Validate reports the
// mistakes, and nothing runs.
func mistaken[T, U any](
	in flow.Source[T],
	name string,
	opts []flow.StageOption,
	mistakes ...flow.StageOption,
) flow.Source[U] {
	never := func() flow.StepFunc[T, U] { return nil }
	return flow.Step(in, name, never, with(opts, mistakes...)...)
}

// draining reports whether the graph of a handler has begun to drain.
func draining(ctx context.Context) bool {
	select {
	case <-flow.DrainStarted(ctx):
		return true
	default:
		return false
	}
}

// calm calls a user's function and returns its panic as an error.
func calm[T, U any](v T, f func(T) U) (u U, err error) {
	defer flow.Catch(&err)
	return f(v), nil
}
