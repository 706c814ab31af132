package flowtest

import (
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Order is what an operator, a source or a sink promises of the order of what passes through it.
type Order uint8

const (
	// Kept: what goes in first comes out first.
	Kept Order = iota
	// ByKey: messages of the same key keep their order.
	ByKey
	// AnyOrder: nothing is promised.
	AnyOrder
)

// String names the order.
func (o Order) String() string { return [...]string{"kept", "by key", "any"}[min(int(o), 2)] }

// Traits are what an operator promises, for TestOperator. The zero Traits are those of a map from
// int to int that returns what it was given.
type Traits[U any] struct {
	// Order is the order of the outputs; Key, for ByKey, an input's key.
	Order Order
	Key   func(in int) int
	// Of returns the inputs that an output was made of: of a Batch all its values. Without it an output must be an int,
	// and is its own input.
	Of func(out U) []int
	// Outputs is how many outputs an input takes part in: 0 for what a filter drops, n for a fan-out. Without it, 1.
	Outputs func(in int) int
	// Holds is how many messages the operator may keep beyond its handler: it is not run with fewer credits than that.
	Holds int
	// Joined says that inputs settle together, as those of a batch do: then an input's outcome may be as bad as that of
	// any other.
	Joined bool
	// Failing is the operator made of a function that may fail, for operators that take one: an
	// error or a panic of it is to be a fault of the message at hand, which goes by the policy
	// given in opts.
	Failing func(in flow.Source[int], f func(int) error, opts ...flow.StageOption) flow.Source[U]
}

// SourceTraits are what a source promises, for TestSource.
type SourceTraits[T any] struct {
	// Make returns the i-th value that the backend is to hold. Values must differ in what they print as.
	Make  func(i int) T
	Order Order // Kept or AnyOrder
	// Endless says that the source waits for more at its end, as a stream does: it is drained then.
	Endless bool
	// Redelivers says that the source delivers Nacked entries again, with a higher Attempt. DeadLetters says that Dead
	// entries are not delivered again.
	Redelivers  bool
	DeadLetters bool
	// Resumes says that a source opened later goes on where the one before has stopped: what was acked does not come
	// again, what was not does.
	Resumes bool
	// Many is how many values the longer tests use; 0: 1000.
	Many int
	// Real says that the source does real I/O: then the tests do not run in virtual time.
	Real bool
	// Patience is how long to wait for what should happen; 0: 10 s.
	Patience time.Duration
}

// SourceBackend is what a source reads from, for one test.
type SourceBackend[T any] struct {
	// Open makes a source that reads the backend, with the options given.
	Open func(opts ...flow.StageOption) flow.Source[T]
	// Pending returns how many entries the backend counts as delivered and not settled. It may be nil.
	Pending func() (int, error)
}

// SinkTraits are what a sink promises, for TestSink.
type SinkTraits[T any] struct {
	// Make returns the i-th value to write. Values must differ in what they print as.
	Make  func(i int) T
	Order Order // Kept or AnyOrder
	// Many is how many values the longer tests use; 0: 1000.
	Many int
	// Real says that the sink does real I/O: then the tests do not run in virtual time.
	Real bool
	// Patience is how long to wait for what should happen; 0: 10 s.
	Patience time.Duration
}

// SinkBackend is what a sink writes to, for one test.
type SinkBackend[T any] struct {
	// Open makes a sink that writes to the backend, with the options given.
	Open func(opts ...flow.StageOption) flow.Sink[T]
	// Written returns what has been written, in the order in which it was.
	Written func() ([]T, error)
	// Break makes writes fail with what would be a passing error until the function it returns is
	// called. It may be nil.
	Break func() (mend func())
}
