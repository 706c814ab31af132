package eventstore

import (
	"errors"
	"fmt"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// The errors of a store. Each wraps redisio.ErrNotWritten if it is the answer to an append.
var (
	// ErrConflict reports that the aggregate has another last event than expected. A *Conflict has
	// the details.
	ErrConflict = errors.New("eventstore: conflict")
	// ErrForeign reports a key that does not belong to the store. A *ForeignError has the details.
	ErrForeign = errors.New("eventstore: key does not belong to the store")
	// ErrAppendID reports that the ID of an append was used for an append to other aggregates, or of
	// fewer events.
	ErrAppendID = errors.New("eventstore: append ID was used for another append; choose another ID")
	// ErrTooLarge reports an append that exceeds a limit. A *TooLargeError has the details.
	ErrTooLarge = errors.New("eventstore: too large")
)

// Conflict reports that an append expected another last event. Nothing was written. Load the
// aggregate again, or look at the events between, and decide again.
type Conflict[E any] struct {
	Aggregate string
	Expected  redisio.ID // zero: no event
	Last      redisio.ID // the last event of the aggregate; zero if it has no events
	// Between has the events after Expected, oldest first, as many as Config.MaxBetween allows. It is
	// empty if the aggregate has no event Expected, or if they cannot be decoded.
	Between []Event[E]
	// Total is the number of events after Expected.
	Total int
}

func (e *Conflict[E]) Error() string {
	if e.Expected.IsZero() {
		return fmt.Sprintf("eventstore: %q exists: its last event is %v", fault.KeyName(e.Aggregate), e.Last)
	}
	if e.Last.IsZero() {
		return fmt.Sprintf("eventstore: %q has no events, expected %v", fault.KeyName(e.Aggregate), e.Expected)
	}
	return fmt.Sprintf("eventstore: the last event of %q is %v, expected %v; load it again",
		fault.KeyName(e.Aggregate), e.Last, e.Expected)
}

// Is reports whether target is ErrConflict or redisio.ErrNotWritten.
func (e *Conflict[E]) Is(target error) bool {
	return target == ErrConflict || target == redisio.ErrNotWritten
}

// ForeignError reports a key that does not belong to the store: it holds another type, or a stream
// or list that the store has not written. Nothing was written.
type ForeignError struct {
	Store   string
	Key     string
	Problem string
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("eventstore: %q %s; it is not of store %q: choose another Name",
		fault.KeyName(e.Key), e.Problem, e.Store)
}

// Is reports whether target is ErrForeign or redisio.ErrNotWritten.
func (e *ForeignError) Is(target error) bool {
	return target == ErrForeign || target == redisio.ErrNotWritten
}

// PartitionsError reports that the store was created with another number of partitions. Nothing was
// written.
type PartitionsError struct {
	Store      string
	Have, Want int
}

func (e *PartitionsError) Error() string {
	return fmt.Sprintf("eventstore: %q has %s, not %d; set Partitions to %d", e.Store,
		fault.Plural(e.Have, "partition", "partitions"), e.Want, e.Have)
}

// Is reports whether target is redisio.ErrNotWritten.
func (e *PartitionsError) Is(target error) bool { return target == redisio.ErrNotWritten }

// TooLargeError reports an append that exceeds a limit. Nothing was sent.
type TooLargeError struct {
	Field string // of Config: MaxEvent, MaxEvents or MaxBytes; or the name of the value that is too long
	Size  int
	Limit int
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("eventstore: %s is %d, and the append has %d; make it smaller", e.Field, e.Limit, e.Size)
}

// Is reports whether target is ErrTooLarge or redisio.ErrNotWritten.
func (e *TooLargeError) Is(target error) bool {
	return target == ErrTooLarge || target == redisio.ErrNotWritten
}

// MissingError reports an event that was deleted or trimmed from the log. A state without it would
// be wrong, so it is not computed.
type MissingError struct {
	Log string
	ID  string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("eventstore: event %s is missing in %q: it was deleted; restore it from a backup",
		e.ID, fault.KeyName(e.Log))
}

// EvictableError reports a maxmemory-policy with which a full server deletes logs.
type EvictableError struct {
	Store  string
	Policy string
}

func (e *EvictableError) Error() string {
	return fmt.Sprintf("eventstore: maxmemory-policy is %s: a full server deletes events of %q; "+
		"set noeviction or a volatile-* policy", e.Policy, e.Store)
}
