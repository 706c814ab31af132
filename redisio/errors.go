package redisio

import (
	"errors"
	"fmt"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

var (
	// ErrClosed is returned by readers and writers after Close.
	ErrClosed = errors.New("redisio: closed")

	// ErrNotOpen is returned by readers and writers before Open.
	ErrNotOpen = errors.New("redisio: not open")

	// ErrNotWritten marks a write that certainly did not happen. It is safe to retry.
	ErrNotWritten = errors.New("redisio: not written")

	// ErrNoStream reports an entry for a missing stream, from a writer that does not create streams
	// (writer.Config.OnlyExisting).
	ErrNoStream = errors.New("redisio: stream does not exist")

	// ErrNoGroup reports that a stream has no group with this name.
	ErrNoGroup = errors.New("redisio: no such group")

	// ErrUnknownOutcome marks a write that received no reply. It may or may not have happened, and
	// a retry may write the entry twice.
	ErrUnknownOutcome = errors.New("redisio: outcome unknown")
)

// ConfigError is one mistake in a configuration.
type ConfigError struct {
	Type    string // the configuration type, for example "GroupConfig"
	Field   string // the field, for example "Lease"
	Problem string // what is wrong with it
	Fix     string // what to write instead
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("redisio: %s.%s: %s; %s", e.Type, e.Field, e.Problem, e.Fix)
}

// Mistake returns what flow.InvalidError reports.
func (e *ConfigError) Mistake() (field, problem, fix string) { return e.Field, e.Problem, e.Fix }

// PermanentError is an answer of the server that a retry will not change, for example a wrong type
// of key, missing rights or an unknown command.
type PermanentError struct {
	Op  string // the operation, for example `read`
	Key string // the stream
	Err error  // the server's answer
}

func (e *PermanentError) Error() string {
	return fmt.Sprintf("redisio: %s %q: %v%s", e.Op, e.Key, e.Err, fault.Advice(e.Err))
}

// Unwrap returns the server's answer.
func (e *PermanentError) Unwrap() error { return e.Err }

// TooLargeError reports an entry larger than the writer's MaxPayload. None of it was sent.
type TooLargeError struct {
	Key   string
	Size  int // bytes of all field names and values
	Limit int
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("redisio: entry for %q has %d bytes, more than MaxPayload %d", e.Key, e.Size, e.Limit)
}

// Is reports whether target is ErrNotWritten.
func (e *TooLargeError) Is(target error) bool { return target == ErrNotWritten }

// IsPermanent reports whether err is, or wraps, an answer of the server that a retry will not
// change: a wrong type of key, missing rights, an unknown command. Other errors are temporary: a
// broken connection, a loading or full server, a moved slot. So are refusals that are still
// retried, see [RefusedFor].
func IsPermanent(err error) bool { return fault.Judge(err) == fault.Permanent }

// IsMissing reports whether the stream or the group that a command needs does not exist.
func IsMissing(err error) bool { return fault.Judge(err) == fault.LostGroup }

// IsFull reports whether err is, or wraps, the answer of a server that is out of memory. Writes may
// succeed again after something was deleted.
func IsFull(err error) bool { return fault.IsFull(err) }

// IsKeyFault reports whether err is a permanent answer of the server about one key. For example,
// the key holds another type, or the user has no rights for it. It returns false for answers about
// the user, the server or the command.
func IsKeyFault(err error) bool { return fault.IsKeyFault(err) }

// ErrBackpressure marks a write for which the server, or the stream at its cap, has no room now.
// The entry is valid: retry after consumers have made room.
var ErrBackpressure = fault.ErrNoRoom

// TooManyFieldsError reports an entry with more fields than a script can write. None of it was
// sent.
type TooManyFieldsError struct {
	Key    string
	Fields int
	Limit  int
}

func (e *TooManyFieldsError) Error() string {
	return fmt.Sprintf(
		"redisio: entry for %q has %d fields, more than the %d that a script can write",
		fault.KeyName(e.Key),
		e.Fields,
		e.Limit,
	)
}

// Is reports whether target is ErrNotWritten.
func (e *TooManyFieldsError) Is(target error) bool { return target == ErrNotWritten }
