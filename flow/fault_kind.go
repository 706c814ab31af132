package flow

import (
	"context"
	"errors"
	"slices"
)

// FaultKind is a kind of Fault. There are few, so it may be a label of a metric.
type FaultKind string

const (
	// FaultError is an error of a handler or a sink of no other kind.
	FaultError FaultKind = "error"
	// FaultPanic is a panic of a handler.
	FaultPanic FaultKind = "panic"
	// FaultTimeout is an error that wraps context.DeadlineExceeded.
	FaultTimeout FaultKind = "timeout"
	// FaultRejected is the verdict Reject.
	FaultRejected FaultKind = "rejected"
	// FaultPostponed is the verdict RetryAfter.
	FaultPostponed FaultKind = "postponed"
	// FaultPermanent is an error that was marked Permanent.
	FaultPermanent FaultKind = "permanent"
	// FaultUndecodable is an entry that its source could not decode.
	FaultUndecodable FaultKind = "undecodable"
)

// faultKinds has each kind.
var faultKinds = [...]FaultKind{
	FaultError, FaultPanic, FaultTimeout, FaultRejected, FaultPostponed, FaultPermanent, FaultUndecodable,
}

// Kind returns the kind of the fault.
func (f *Fault) Kind() FaultKind {
	panicked := (*PanicError)(nil)
	switch v := verdictOf(f.Err); {
	case f.undecodable:
		return FaultUndecodable
	case v != nil && v.do == ActDead:
		return FaultRejected
	case v != nil && v.do == ActNack:
		return FaultPostponed
	case errors.As(f.Err, &panicked):
		return FaultPanic
	case IsPermanent(f.Err):
		return FaultPermanent
	case errors.Is(f.Err, context.DeadlineExceeded):
		return FaultTimeout
	}
	return FaultError
}

// countFault adds a fault to the counters.
func (st *stageRun) countFault(f *Fault) { st.faults[slices.Index(faultKinds[:], f.Kind())].Add(1) }

// faultCounts returns the number of faults, and those of each kind that has occurred. It is nil
// without faults.
func (st *stageRun) faultCounts() (all uint64, of map[FaultKind]uint64) {
	for i, kind := range faultKinds {
		if n := st.faults[i].Load(); n > 0 {
			if of == nil {
				of = make(map[FaultKind]uint64)
			}
			all, of[kind] = all+n, n
		}
	}
	return all, of
}
