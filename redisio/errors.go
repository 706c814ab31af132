package redisio

import (
	"errors"
	"fmt"
	"strings"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

var (
	// ErrClosed is returned by readers and writers after Close.
	ErrClosed = errors.New("redisio: closed")

	// ErrNotOpen is returned by readers and writers before Open.
	ErrNotOpen = errors.New("redisio: not open")

	// ErrNotWritten marks a write that surely did not happen: it may be tried again.
	ErrNotWritten = errors.New("redisio: not written")

	// ErrNoStream is an entry for a stream that does not exist, of a writer that makes none
	// (writer.Config.OnlyExisting).
	ErrNoStream = errors.New("redisio: stream does not exist")

	// ErrNoGroup says that a stream has no group of this name.
	ErrNoGroup = errors.New("redisio: no such group")

	// ErrUnknownOutcome marks a write whose reply was lost: it may or may not have happened, and
	// trying again may write it twice.
	ErrUnknownOutcome = errors.New("redisio: outcome unknown")
)

// ConfigError is one mistake in a configuration: which field, what is wrong, what to write instead.
type ConfigError struct {
	Type    string // the configuration type, as "GroupConfig"
	Field   string // the field, as "Lease"
	Problem string // what is wrong with it
	Fix     string // what to write instead
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("redisio: %s.%s: %s; %s", e.Type, e.Field, e.Problem, e.Fix)
}

// PermanentError is an answer of the server that will not change by asking again: a wrong type of
// key, missing rights, an unknown command.
type PermanentError struct {
	Op  string // what was tried, as `read`
	Key string // the stream
	Err error  // the server's answer
}

func (e *PermanentError) Error() string {
	return fmt.Sprintf("redisio: %s %q: %v%s", e.Op, e.Key, e.Err, fault.Advice(e.Err))
}

// Unwrap returns the server's answer.
func (e *PermanentError) Unwrap() error { return e.Err }

// TooLargeError is an entry bigger than the writer's MaxPayload. Nothing of it was sent.
type TooLargeError struct {
	Key   string
	Size  int // bytes of all field names and values
	Limit int
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("redisio: entry for %q has %d bytes, more than MaxPayload %d", e.Key, e.Size, e.Limit)
}

// Is reports a TooLargeError as not written.
func (e *TooLargeError) Is(target error) bool { return target == ErrNotWritten }

// IsPermanent reports an error that is, or wraps, an answer of the server that will not change by asking again: a wrong
// type of key, missing rights, an unknown command. Everything else (a broken connection, a server
// that loads or is full, a slot that moved) passes, and so do refusals that are being waited out,
// see [RefusedFor].
func IsPermanent(err error) bool { return fault.Judge(err) == fault.Permanent }

// IsFull reports an error that is, or wraps, the answer of a server that is out of memory. Writes
// may succeed again once something was deleted.
func IsFull(err error) bool { return fault.IsFull(err) }

// IsKeyFault reports a permanent answer of the server about one key: for example, the key holds
// another type, or the user has no rights for it. It returns false for answers about the user, the
// server or the command.
func IsKeyFault(err error) bool {
	if fault.Judge(err) != fault.Permanent {
		return false
	}
	for _, p := range [...]string{"NOAUTH", "WRONGPASS", "unknown", "Unknown"} {
		if fault.Says(err, p) {
			return false
		}
	}
	text := err.Error()
	rights := fault.Says(err, "NOPERM") || strings.Contains(text, "ACL failure in script")
	return !rights || !strings.Contains(text, " command") // "… to run the 'xadd' command"
}

// What a writer does beside plain XADDs: retention, the cap, dedupe, durability. Idea: all of it rides in the pipeline
// that writes.
//
//	per key:  [what IDMP needs]  the entries, as XADDs or in scripts  [trimming, or the length]
//	at the end:  [WAIT]  [WAITAOF]

// ErrBackpressure marks a write that the server, or the stream at its cap, has no room for now.
// Nothing is wrong with the entry: try again when consumers have made room.
var ErrBackpressure = fault.ErrNoRoom

// TooManyFieldsError is an entry with more fields than a script can write. Nothing of it was sent.
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

// Is reports a TooManyFieldsError as not written.
func (e *TooManyFieldsError) Is(target error) bool { return target == ErrNotWritten }
