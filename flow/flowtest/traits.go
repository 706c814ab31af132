package flowtest

import (
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Order is the promise of an operator, a source or a sink about the order of messages.
type Order uint8

const (
	// Kept: messages keep their order.
	Kept Order = iota
	// ByKey: messages of the same key keep their order.
	ByKey
	// AnyOrder: nothing is promised.
	AnyOrder
)

// String names the order.
func (o Order) String() string { return [...]string{"kept", "by key", "any"}[min(int(o), 2)] }

// Traits are what an operator promises, for TestOperator. The zero Traits are those of a map from
// int to int that returns its input.
type Traits[U any] struct {
	// Order is the order of the outputs. Key is an input's key, for ByKey.
	Order Order
	Key   func(in int) int
	// Of returns the inputs that an output was made of: for a Batch all its values. Without it
	// outputs must be ints and are their own inputs.
	Of func(out U) []int
	// Outputs is how many outputs an input takes part in: 0 if a filter drops it, n for a fan-out.
	// Defaults to 1.
	Outputs func(in int) int
	// Check compares the outputs that the sink has accepted with the acked inputs, which are in
	// ascending order. It returns the mistake. It replaces Outputs, and makes Of optional. It is
	// for aggregators, such as sums, because their outputs do not reveal their inputs. Inputs that
	// are not acked must not be part of out. The suite also calls it with few or no inputs, for
	// example when the sink refuses all outputs: then the acked inputs are those that need no
	// output. Defaults to nil, which compares by Of and Outputs.
	Check func(acked []int, out []U) error
	// Holds is how many messages the operator may keep beyond its handler. It is not run with fewer
	// credits.
	Holds int
	// Joined means that inputs settle together, like those of a batch: an input's outcome may be as
	// bad as that of any other.
	Joined bool
	// Stored means that the operator keeps state that outlives a run, such as the keys in the store
	// of a Dedupe. A second run of the same graph is then tested with other inputs. Defaults to
	// false: a second run gets the same inputs, and must give the same outputs.
	Stored bool
	// Leaves means that an input that finds no partner goes back to its source when another input has
	// ended, as those of a zip do. Then an input need not be read or acked, and one that is acked must be in
	// its Outputs.
	Leaves bool
	// InTurn means that the operator reads an input when those before it have ended, as flow.InTurn says.
	// Then a drain and a stop leave the later inputs unread.
	InTurn bool
	// Seeds is how many seeds of chaos the operator is run with. Defaults to 20; the environment
	// variable FLOWTEST_SEEDS replaces the default, and FLOWTEST_SEED=n runs the one seed n.
	Seeds int
	// Failing builds the operator with a function that may fail, for operators that take one. An
	// error or a panic must be a fault of the current message, subject to the policy in opts. For
	// TestWired see Calls.
	Failing func(in flow.Source[int], f func(int) error, opts ...flow.StageOption) flow.Source[U]
	// Calls means that the operator of TestWired calls the function it is given with each input, and
	// returns its error or panics with it.
	Calls bool
	// Limit is the longest real time that one test may take. A test that takes longer hangs: it fails, and the
	// goroutines it has started are printed and left behind. Defaults to one minute, and to less
	// if go test's -timeout comes first. Negative disables the limit.
	Limit time.Duration
}

// SourceTraits are what a source promises, for TestSource.
type SourceTraits[T any] struct {
	// Make returns the i-th value of the backend. Values must differ when printed.
	Make  func(i int) T
	Order Order // Kept or AnyOrder
	// Endless means that the source waits for more at its end, like a stream. It is then drained.
	Endless bool
	// Redelivers means that the source redelivers Nacked entries with a higher Attempt. DeadLetters
	// means that Dead entries are not redelivered.
	Redelivers  bool
	DeadLetters bool
	// Resumes means that a source opened later continues where the earlier one stopped: acked
	// entries are not delivered again, others are.
	Resumes bool
	// Fatal are the breakages that end the graph with an error, see SourceBackend.Break. After any
	// other breakage the source continues by itself, or after a restart of its stage.
	Fatal []Breakage
	// Many is how many values the longer tests use. Defaults to 1000.
	Many int
	// Real means that the source does real I/O: the tests do not run in virtual time.
	Real bool
	// Patience is how long to wait for an expected state. Defaults to 10 s.
	Patience time.Duration
	// Limit is the longest real time that one test may take. A test that takes longer hangs: it fails, and the
	// goroutines it has started are printed and left behind. Defaults to one minute, or with Real to six
	// times Patience if that is more, and to less if go test's -timeout comes first. Negative disables it.
	Limit time.Duration
}

// SourceBackend is what a source reads from, for one test.
type SourceBackend[T any] struct {
	// Open makes a source that reads the backend, with the given options.
	Open func(opts ...flow.StageOption) flow.Source[T]
	// Pending returns the backend's number of entries that are delivered and not settled. It may be
	// nil.
	Pending func() (int, error)
	// Break breaks the backend until repair is called. struck reports whether an operation of the source
	// has failed since. Break returns nil for both if the backend cannot break in this way, and the
	// suite skips that test. Defaults to nil, which skips all of them.
	//
	// A graph must stop also while the backend is broken. After repair the source must deliver every
	// value. A value that arrives again must have a higher Attempt, if the source redelivers. A Fatal
	// breakage must end the graph with an error; with Resumes the next source delivers the rest.
	Break func(how Breakage) (struck func() bool, repair func())
}

// SinkTraits are what a sink promises, for TestSink.
type SinkTraits[T any] struct {
	// Make returns the i-th value to write. Values must differ when printed.
	Make  func(i int) T
	Order Order // Kept or AnyOrder
	// Many is how many values the longer tests use. Defaults to 1000.
	Many int
	// Real means that the sink does real I/O: the tests do not run in virtual time.
	Real bool
	// Patience is how long to wait for an expected state. Defaults to 10 s.
	Patience time.Duration
	// Limit is the longest real time that one test may take. A test that takes longer hangs: it fails, and the
	// goroutines it has started are printed and left behind. Defaults to one minute, or with Real to six
	// times Patience if that is more, and to less if go test's -timeout comes first. Negative disables it.
	Limit time.Duration
}

// SinkBackend is what a sink writes to, for one test.
type SinkBackend[T any] struct {
	// Open makes a sink that writes to the backend, with the given options.
	Open func(opts ...flow.StageOption) flow.Sink[T]
	// Written returns the written values, in order.
	Written func() ([]T, error)
	// Break makes writes fail with a temporary error until the returned function is called. It may
	// be nil.
	Break func() (mend func())
}
