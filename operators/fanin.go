package operators

import (
	"slices"

	"github.com/streamerson/streamerson-go/flow"
)

// FanIn merges several sources of one type. Messages pass in the order in which they arrive, and no
// input can starve another.
//
//	a    --1-----3-----|
//	b    -----2-----4--|
//	out  --1--2--3--4--|
//
// Order: kept per input, not between them. Acks: carried by the output.
// Holds: two chunks waiting, for all inputs together. Ends: when all inputs have ended.
func FanIn[T any](ins ...flow.Source[T]) flow.Source[T] {
	return flow.Merge("fan-in", slices.Clone(ins)) // the caller may use its slice again
}
