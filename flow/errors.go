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
	// ErrDrainTimeout is the cause of the handlers' contexts once a drain took longer than its timeout.
	ErrDrainTimeout = errors.New("flow: drain timeout")
	// ErrRunning is returned by Supervisor.Add for a name that is running.
	ErrRunning = errors.New("flow: already running")
	// ErrUnknownGraph is returned by the Supervisor for a name it does not run.
	ErrUnknownGraph = errors.New("flow: unknown graph")
	// ErrNotRedeliverable is wrapped by the error that stops a graph when a message failed for good, and its source can
	// neither deliver it again nor keep it as a dead letter.
	ErrNotRedeliverable = errors.New("flow: source cannot deliver the message again")

	errNoCommitter = errors.New(
		"flow: the source declares Redelivers, KeepsDeadLetters or TakesEffects, and its Reader " +
			"is no Committer: nobody would do it; give it a Commit method, or leave the option out",
	)
	errLeftHeld = errors.New("flow: the handler still held the message when its input had ended; " +
		"end what is held in End, see flow.Ender")
	errLoopOver = errors.New("flow: the loop over the values has ended")
	errGoexit   = errors.New("flow: runtime.Goexit called in user code")
)

// BuildError is one mistake in a blueprint. Validate returns all of them at once, joined.
type BuildError struct {
	Graph string // the graph's name
	Stage string // the stage's name, or "" when the graph as a whole is meant
	Field string // the config field, when the mistake is in one
	Issue string // what is wrong
	Fix   string // what to do
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

// PanicError is a panic in user code, turned into an error.
type PanicError struct {
	Value any    // what was panicked with
	Stack []byte // of the goroutine that panicked
}

// Error is the panic's value; the stack is in Stack, and in the log where the panic decided over a message.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the panic's value when it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// StageError is why a graph stopped by itself: a stage that failed beyond its restarts, or a message whose policy is to
// stop.
type StageError struct {
	Graph    string
	Stage    string
	Restarts int    // restarts of the stage's region before it gave up
	ID       string // of the entry at fault; "" when it was not a message's fault
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

// WriteError tells which messages of a chunk a sink could not write. A Writer that returns it says that all the others
// are written. It may also be the error of one message that joins others, as a batch does: then it tells which of its
// members could not be written, and each member is settled by itself. Those to be tried again are
// written again alone, as a shorter slice; a value that is not a slice with an element for each
// member is written again whole.
//
// A WriteError counts in sinks only. From any other handler it is an error of the whole message.
type WriteError struct {
	// Errs has an entry for each message of the chunk, in its order, or, in a chunk of one message
	// and as the error of a message, for each of its members (Meta.Members); nil for those written.
	// With any other number of entries nothing counts as written.
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

// plural returns the number with the noun, which forms its plural by an s.
func plural[N int | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// entries is plural for an entry.
func entries[N int | uint64](n N) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

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

// DrainReport says how a graph ended.
type DrainReport struct {
	Graph    string
	Took     time.Duration // from the end being asked for, or the sources' end, to the end
	Settled  uint64        // entries settled over the whole run: acknowledged, dropped, dead, or nacked by a fault
	Released uint64        // entries given back unfinished over the whole run, for others to take; not in Settled
	// Unbegun is how many of the Released entries no handler had begun. Their delivery does not count.
	Unbegun uint64
	// Uncommitted is the number of entries that are settled but that their source could not be told of by the end: it
	// will deliver them again.
	Uncommitted uint64
	Stuck       []Stuck // stages that had not come to their end in time
}

// Stuck is a stage that did not end in time.
type Stuck struct {
	Stage string
	// Holding is the number of messages that had reached the stage and not left it.
	Holding uint64
}

func (s Stuck) String() string { return fmt.Sprintf("%s (%s)", s.Stage, plural(s.Holding, "message")) }

// DrainError is returned by Run, Wait and Drain when a drain did not finish within its timeout, or
// the sources could not be told of all that had finished. Nothing is lost by it: the sources
// deliver again what was given back or not committed.
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
