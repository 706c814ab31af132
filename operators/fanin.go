package operators

import (
	"slices"

	"github.com/streamerson/streamerson-go/flow"
)

// FanIn merges several sources of one type in the order in which their messages arrive. No input
// can starve another.
//
// Order: kept within each input, not between them. Acks: carried by the output.
// Holds: two chunks waiting, for all inputs together. Ends: when all inputs have ended.
func FanIn[T any](ins ...flow.Source[T]) flow.Source[T] {
	return flow.Merge("fan-in", slices.Clone(ins)) // the caller may use its slice again
}
