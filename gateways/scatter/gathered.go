package scatter

import (
	"errors"
	"fmt"
	"strings"

	"github.com/streamerson/streamerson-go/redisio/gather"
)

// Gathered is an origin with the results of its parts.
type Gathered[T, R any] struct {
	Value T
	Parts []Result[R] // of all parts, in the order of split

	err *IncompleteError
}

// Result is the result of one part. Err is nil if the part has succeeded, a *PartError if it has
// failed, and ErrMissing if it had no result when the gather was over.
type Result[R any] struct {
	Value R
	Err   error
}

// Err returns nil if as many parts have succeeded as Config asks for, else an *IncompleteError. It
// is always nil without Config.Partial.
func (g Gathered[T, R]) Err() error {
	if g.err == nil {
		return nil
	}
	return g.err
}

// Values returns the results of the parts that have succeeded, in the order of split.
func (g Gathered[T, R]) Values() []R {
	values := make([]R, 0, len(g.Parts))
	for _, p := range g.Parts {
		if p.Err == nil {
			values = append(values, p.Value)
		}
	}
	return values
}

// ErrMissing reports a part without a result.
var ErrMissing = errors.New("scatter: the part has no result")

// PartError is the failure of a part.
type PartError struct {
	Part int
	Text string // of the worker's error, at most 1 KiB
}

func (e *PartError) Error() string { return fmt.Sprintf("scatter: part %d failed: %s", e.Part, e.Text) }

// IncompleteError reports an origin of which too few parts have succeeded.
type IncompleteError struct {
	Gather  string // its ID, see gather.Store
	How     gather.How
	Parts   int
	Need    int
	Missing []int        // parts without a result
	Failed  []*PartError // in the order of split
}

func (e *IncompleteError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "scatter: %d of %d parts have succeeded, %d are needed; the gather is %s",
		e.Parts-len(e.Missing)-len(e.Failed), e.Parts, e.Need, e.How)
	if len(e.Missing) > 0 {
		fmt.Fprintf(&b, "; missing %v", e.Missing[:min(len(e.Missing), 10)])
	}
	if len(e.Failed) > 0 {
		fmt.Fprintf(&b, "; part %d: %s", e.Failed[0].Part, e.Failed[0].Text)
	}
	return b.String()
}

// Unwrap returns the failures of the parts.
func (e *IncompleteError) Unwrap() []error {
	errs := make([]error, len(e.Failed))
	for i, f := range e.Failed {
		errs[i] = f
	}
	return errs
}
