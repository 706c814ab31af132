package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

var (
	// ErrStopped is the cause of the handlers' contexts after Running.Stop, and what Supervisor.Add
	// returns after Shutdown.
	ErrStopped = errors.New("flow: graph stopped")
	// ErrDrainTimeout is the cause of the handlers' contexts after a drain exceeded its timeout.
	ErrDrainTimeout = errors.New("flow: drain timeout")
	// ErrRunning is returned by Supervisor.Add for the name of a running graph.
	ErrRunning = errors.New("flow: already running")
	// ErrUnknownGraph is returned by a Supervisor for a name it does not know.
	ErrUnknownGraph = errors.New("flow: unknown graph")
	// ErrNotRedeliverable is wrapped by the error that stops a graph when a message failed for good
	// and its source can neither deliver it again nor keep it as a dead letter.
	ErrNotRedeliverable = errors.New("flow: source cannot deliver the message again")

	// ErrStalled is wrapped by the error of a graph that stops because a stream stands still: see
	// operators.Watchdog and Traits.MaxBlocked.
	ErrStalled = errors.New("flow: the stream has stalled")

	errNoCommitter = errors.New(
		"flow: the source has the trait Redelivers or DeadLetters, but its Reader is not a Committer; " +
			"add a Commit method, or leave the trait out",
	)
	errLeftHeld = errors.New("flow: handler still held the message when its input ended; " +
		"end the hold in End, see flow.Ender")
	errLoopOver = errors.New("flow: the loop over the values has ended")
	errGoexit   = errors.New("flow: runtime.Goexit called in user code")
)

// BuildError is one mistake in a blueprint. Validate returns all mistakes at once, joined.
type BuildError struct {
	Graph string // the graph's name
	Stage string // the stage's name; "" if the mistake concerns the whole graph
	Field string // the config field; "" if the mistake is in none
	Issue string // the mistake
	Fix   string // the remedy
}

func (e *BuildError) Error() string {
	var b strings.Builder
	b.WriteString("flow: ")
	if e.Graph != "" {
		fmt.Fprintf(&b, "graph %q: ", e.Graph)
	}
	if e.Stage != "" {
		fmt.Fprintf(&b, "stage %q: ", e.Stage)
	}
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	b.WriteString(e.Issue)
	if e.Fix != "" {
		b.WriteString("; " + e.Fix)
	}
	return b.String()
}

// PanicError is a panic in user code as an error.
type PanicError struct {
	Value any    // the value passed to panic
	Stack []byte // of the goroutine that panicked
}

// Error returns the panic's value. Stack has the stack; the log has it if the panic decided the end
// of a message.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the panic's value if it is an error, else nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Catch makes the panic of a function that calls user code its error, a *PanicError. Defer it with
// the address of the result.
func Catch(err *error) {
	if v := recover(); v != nil {
		*err = recovered(v)
	}
}

// StageError is the reason why a graph stopped by itself: a stage failed more often than its
// restarts allow, or the policy for a failed message was to stop.
type StageError struct {
	Graph    string
	Stage    string
	Restarts int    // restarts of the stage's region before it gave up
	ID       string // ID of the failed entry; "" if no message caused the failure
	Err      error
}

func (e *StageError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "flow: graph %q: stage %q", e.Graph, e.Stage)
	if e.ID != "" {
		fmt.Fprintf(&b, ": message %s", e.ID)
	}
	if e.Restarts > 0 {
		fmt.Fprintf(&b, ": gave up after %d restarts", e.Restarts)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// Unwrap returns the cause.
func (e *StageError) Unwrap() error { return e.Err }

// WriteError reports which messages of a chunk a sink could not write. A Writer that returns it
// states that all other messages are written. It may also be the error of one message that joins
// others, such as a batch. Then it reports which members could not be written, and each member is
// settled separately. Members to be retried are written again alone, as a shorter slice. A value
// that is not a slice with one element per member is written again as a whole.
//
// Only sinks interpret a WriteError. From any other handler it is an error of the whole message.
type WriteError struct {
	// Errs has one entry for each message of the chunk, in order; nil for a written message. If the
	// chunk has one message, and if the WriteError is the error of a message, it may have one entry
	// for each member of that message (Meta.Members) instead. With any other number of entries, all
	// messages are treated as not written.
	Errs []error
}

func (e *WriteError) Error() string {
	n, first := 0, error(nil)
	for _, err := range e.Errs {
		if err != nil {
			if n++; first == nil {
				first = err
			}
		}
	}
	return fmt.Sprintf("%d of %s not written, the first: %v", n, plural(len(e.Errs), "message"), first)
}

// plural returns the number with the noun.
func plural[N int | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, y := strings.CutSuffix(noun, "y"); y {
		noun = stem + "ie"
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func entries[N int | uint64](n N) string { return plural(n, "entry") }

// Unwrap returns the errors of the messages that were not written.
func (e *WriteError) Unwrap() []error {
	var errs []error
	for _, err := range e.Errs {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// Permanent marks an error that no restart and no retry can cure. The graph stops at once, without
// the usual retries and restarts. It applies to all errors returned by user code: by Readers,
// Committers, Writers and handlers.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// IsPermanent reports whether an error is, or wraps, one that was marked Permanent.
func IsPermanent(err error) bool {
	var permanent *permanentError
	return errors.As(err, &permanent)
}

// verdict is an error with which a handler decides on its message itself.
type verdict struct {
	do    Action
	after time.Duration
	err   error
}

func (v *verdict) Error() string {
	switch v.do {
	case ActDrop:
		return "skip"
	case ActDead:
		return "rejected: " + v.err.Error()
	default:
		return fmt.Sprintf("retry after %v: %v", v.after, v.err)
	}
}

func (v *verdict) Unwrap() error { return v.err }

// Skip is the verdict that drops the message: its entry is done and counted as dropped. It is not a
// fault.
var Skip error = &verdict{do: ActDrop}

// RetryAfter is the verdict that has the message delivered again after d. The entry goes back to
// its source, and no other message waits for it. If the source cannot deliver again, the stage
// waits and retries in place, after at least 10ms.
//
// With a Redis stream, a delay longer than the lease is kept in this process, which renews the
// lease. If the process dies, the entry is delivered at most one lease later. For a delay that must
// survive, write the message with the sink's At.
func RetryAfter(d time.Duration, err error) error {
	return &verdict{do: ActNack, after: d, err: orUnspecified(err)}
}

// Reject is the verdict that moves the message to the dead letters at once. Use it for a message
// that can never succeed. If the source has no dead letters, the graph stops.
func Reject(err error) error { return &verdict{do: ActDead, err: orUnspecified(err)} }

func orUnspecified(err error) error {
	if err == nil {
		return errors.New("no reason given")
	}
	return err
}

// Verdict reports whether an error is, or wraps, a verdict (Skip, RetryAfter, Reject), and returns
// its decision, or else the zero Decision. Operators that turn errors into values use it to let
// verdicts pass.
func Verdict(err error) (Decision, bool) {
	if v := verdictOf(err); v != nil {
		return Decision{Do: v.do, After: v.after}, true
	}
	return Decision{}, false
}

// verdictOf returns the verdict that an error is or wraps. It ignores the errors in a WriteError,
// because each of them is about one message only.
func verdictOf(err error) *verdict {
	switch e := err.(type) {
	case *verdict:
		return e
	case *WriteError:
		return nil
	case interface{ Unwrap() error }:
		return verdictOf(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			if v := verdictOf(one); v != nil {
				return v
			}
		}
	}
	return nil
}

// verdictIs reports whether an error is the verdict with action a.
func verdictIs(err error, a Action) bool {
	v := verdictOf(err)
	return v != nil && v.do == a
}

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
