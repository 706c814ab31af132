package flowtest

// Promise is a duty of every operator, which TestOperator and TestWired prove.
type Promise uint8

const (
	// SameResult: the outputs do not depend on how the input is cut into chunks, nor on delays.
	SameResult Promise = iota
	// Bounded: behind a stuck consumer no more entries are in flight than the credits allow.
	Bounded
	// Cancellable: a stop at any point gives back what is not finished, and acks only what is.
	Cancellable
	// FaultTolerant: an error or a panic at any element is a fault of this element only.
	FaultTolerant
	// Drainable: a drain at any point finishes everything that was read.
	Drainable
	// SettledOnce: each entry is settled exactly once, with the worst outcome of its outputs.
	SettledOnce

	promises // their number
)

// Promises are all promises.
var Promises = []Promise{SameResult, Bounded, Cancellable, FaultTolerant, Drainable, SettledOnce}

// String names the promise.
func (p Promise) String() string {
	return [...]string{
		"same result", "bounded", "cancel", "faults", "drain", "settled once", "unknown",
	}[min(p, promises)]
}

// Proof is what TestOperator and TestWired have proven of an operator.
type Proof struct {
	Order  Order
	Seeds  int // seeds of chaos that passed
	passed [promises]int
}

// Passed returns how many tests of a promise have passed. A seed of chaos is one test.
func (p Proof) Passed(of Promise) int {
	if of >= promises {
		return 0
	}
	return p.passed[of]
}

// counts adds a test that passed.
func (p *Proof) counts(of ...Promise) {
	for _, one := range append(of, SettledOnce) {
		p.passed[one]++
	}
}
