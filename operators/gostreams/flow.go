package gostreams

import (
	"context"
	"time"

	streams "github.com/reugn/go-streams"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

// Flow runs go-streams flows as a stage, without loss. It gathers values into batches of up to n, as
// operators.Batch does, and sends each batch through a pipeline of its own: see [Func]. A result
// belongs to its whole batch, because go-streams does not tell which values it was made of. So when a
// result fails, all entries of its batch do. A value of another type than U, and a call that exceeds
// flow.Timeout, fail the batch. The options are those of operators.Map; flow.Workers runs several
// batches at once.
//
//	in  -1--2--3--4-|
//	    Flow(2, a second, NewFilter(odd))
//	out ----1-----3-|
//
// Order: that of the flows within a batch, kept between batches. Acks: with all results of its batch.
// Holds: two batches. Ends: when in ends, after the last batch.
func Flow[T, U any](
	in flow.Source[T], n int, within time.Duration, through func(streams.Source) streams.Source,
	opts ...flow.StageOption,
) flow.Source[U] {
	var call func(context.Context, []T) ([]U, error)
	if through != nil {
		call = Func[T, U](through)
	}
	own := []flow.StageOption{flow.DefaultName("go-streams")}
	results := operators.Map(operators.Batch(in, n, within), call, append(own, opts...)...)
	return operators.FlatMap(results, func(_ context.Context, batch []U, emit func(U)) error {
		for _, v := range batch {
			emit(v)
		}
		return nil
	}, flow.DefaultName("results"))
}
