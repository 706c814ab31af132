package flow

import (
	"errors"
	"fmt"
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

// DrainReport describes how a graph ended.
type DrainReport struct {
	Graph    string
	Took     time.Duration // from the request to end, or from the end of the sources, to the end
	Settled  uint64        // entries settled in the whole run: acked, dropped, dead, or nacked by a fault
	Released uint64        // entries given back unfinished in the whole run; not included in Settled
	// Unbegun is how many of the Released entries no handler had begun. Their delivery does not
	// count.
	Unbegun uint64
	// Uncommitted is the number of entries that were settled but not committed to their source by
	// the end. The source will deliver them again.
	Uncommitted uint64
	Stuck       []Stuck // stages that did not end in time
}

// Stuck is a stage that did not end in time.
type Stuck struct {
	Stage string
	// Holding is the number of messages that reached the stage and did not leave it.
	Holding uint64
}

func (s Stuck) String() string { return fmt.Sprintf("%s (%s)", s.Stage, plural(s.Holding, "message")) }

// DrainError is returned by Run, Wait and Drain if a drain exceeded its timeout, or if not all
// settlements could be committed. No message is lost: the sources deliver again the entries that
// were given back or not committed.
type DrainError struct{ DrainReport }

func (e *DrainError) Error() string {
	names := make([]string, len(e.Stuck))
	for i, s := range e.Stuck {
		names[i] = s.String()
	}
	s := fmt.Sprintf("flow: graph %q: no clean end within %v: %s given back unfinished",
		e.Graph, e.Took.Round(time.Millisecond), entries(e.Released))
	if e.Uncommitted > 0 {
		s += fmt.Sprintf(", %d finished but not committed", e.Uncommitted)
	}
	if len(names) > 0 {
		s += ", stuck: " + strings.Join(names, ", ")
	}
	return s
}

// Unwrap makes errors.Is(err, ErrDrainTimeout) true.
func (e *DrainError) Unwrap() error { return ErrDrainTimeout }

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
