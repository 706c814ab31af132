package redisio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

var (
	// ErrClosed is returned by readers and writers after Close.
	ErrClosed = errors.New("redisio: closed")

	// ErrNotOpen is returned by readers and writers before Open.
	ErrNotOpen = errors.New("redisio: not open")

	// ErrNotWritten marks a write that surely did not happen: it may be tried again.
	ErrNotWritten = errors.New("redisio: not written")

	// ErrNoStream is an entry for a stream that does not exist, of a writer that makes none
	// (WriterConfig.OnlyExisting).
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
	return fmt.Sprintf("redisio: %s %q: %v%s", e.Op, e.Key, e.Err, advice(e.Err))
}

// Unwrap returns the server's answer.
func (e *PermanentError) Unwrap() error { return e.Err }

// advice is what to do about a permanent error, where we know it.
func advice(err error) string {
	switch {
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return "; the key exists and is no stream: choose another key"
	case redis.HasErrorPrefix(err, "NOAUTH"), redis.HasErrorPrefix(err, "WRONGPASS"):
		return "; check user and password of the Redis client"
	case noRight(err) && !says(err, "unknown command"):
		return "; grant the user this command and key (ACL SETUSER)"
	case redis.HasErrorPrefix(err, "unknown command"):
		return "; the server is too old or lacks streams: Redis 7.0 or newer is needed"
	}
	return ""
}

// plural is a number and its noun.
func plural[N int | int64](n N, one, many string) string {
	if n != 1 {
		one = many
	}
	return fmt.Sprint(n, " ", one)
}

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

// outcomeError says what is known about a failed write, and why.
type outcomeError struct {
	outcome error // ErrNotWritten or ErrUnknownOutcome
	cause   error
}

func (e *outcomeError) Error() string {
	return e.outcome.Error() + ": " + strings.TrimPrefix(e.cause.Error(), "redisio: ")
}
func (e *outcomeError) Unwrap() []error { return []error{e.outcome, e.cause} }

// replyError is an error reply found in a raw reply. It is a redis.Error, so redis.HasErrorPrefix works.
type replyError string

func (e replyError) Error() string { return string(e) }
func (replyError) RedisError()     {}

// verdict is what an error of a command means for the loop that sent it.
type verdict int

const (
	fine      verdict = iota
	lostGroup         // the stream or the group is gone: make it again
	moved             // another cluster node has the slot
	later             // the server answered that it can't now
	broken            // no answer: the connection or the server is gone, the outcome is unknown
	permanent         // the server answered, and will answer the same again
)

// judge is the one place where the texts of Redis errors are matched.
func judge(err error) verdict {
	if err == nil || errors.Is(err, redis.Nil) {
		return fine
	}
	var answer redis.Error
	if !errors.As(err, &answer) {
		return broken
	}
	if waiting := (*refusedError)(nil); errors.As(err, &waiting) {
		return later
	}
	for _, p := range [...]struct {
		prefix string
		v      verdict
	}{
		{"NOGROUP", lostGroup}, {"UNBLOCKED the stream key", lostGroup}, {"-UNBLOCKED the stream key", lostGroup},
		{"no such key", lostGroup}, {"The XGROUP subcommand requires the key", lostGroup},
		{"MOVED ", moved}, {"ASK ", moved}, {"TRYAGAIN", moved},
		{"UNBLOCKED", later}, {"LOADING", later}, {"READONLY", later}, {"MASTERDOWN", later}, {"CLUSTERDOWN", later},
		{"NOREPLICAS", later}, {"BUSY ", later}, {"OOM", later}, {"MISCONF", later}, {"max number of clients", later},
	} {
		if says(err, p.prefix) {
			return p.v
		}
	}
	// A script reports the error of a command it ran inside its own text.
	if s := err.Error(); strings.Contains(s, "NOGROUP") {
		return lostGroup
	}
	return permanent
}

// isCut reports a connection that was there and broke before the answer.
func isCut(err error) bool {
	for _, of := range [...]error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, of) {
			return true
		}
	}
	return false
}

// IsPermanent reports an error that is, or wraps, an answer of the server that will not change by asking again: a wrong
// type of key, missing rights, an unknown command. Everything else (a broken connection, a server
// that loads or is full, a slot that moved) passes, and so do refusals that are being waited out,
// see [RefusedFor].
func IsPermanent(err error) bool { return judge(err) == permanent }

// IsFull reports an error that is, or wraps, the answer of a server that is out of memory. Writes
// may succeed again once something was deleted.
func IsFull(err error) bool { return isFull(err) }

// IsKeyFault reports a permanent answer of the server about one key: for example, the key holds
// another type, or the user has no rights for it. It returns false for answers about the user, the
// server or the command.
func IsKeyFault(err error) bool {
	if judge(err) != permanent {
		return false
	}
	for _, p := range [...]string{"NOAUTH", "WRONGPASS", "unknown", "Unknown"} {
		if says(err, p) {
			return false
		}
	}
	text := err.Error()
	rights := says(err, "NOPERM") || strings.Contains(text, "ACL failure in script")
	return !rights || !strings.Contains(text, " command") // "… to run the 'xadd' command"
}

// says reports how an answer of the server begins: one to EXEC quotes that of the command it would have run.
func says(err error, prefix string) bool {
	return redis.HasErrorPrefix(err, prefix) ||
		redis.HasErrorPrefix(err, "EXECABORT Transaction discarded because of: "+prefix)
}

// discarded returns why a transaction failed. EXEC only says that some command was refused before:
// the answer to that says why.
func discarded(cmds []redis.Cmder, err error) error {
	if !redis.HasErrorPrefix(err, "EXECABORT") {
		return err
	}
	for _, cmd := range cmds {
		if why := cmd.Err(); why != nil && !redis.HasErrorPrefix(why, "EXECABORT") {
			return fmt.Errorf("transaction discarded: %w", why)
		}
	}
	return err
}

func groupExists(err error) bool { return redis.HasErrorPrefix(err, "BUSYGROUP") }
func isFull(err error) bool      { return says(err, "OOM") }
func isWrongType(err error) bool { return says(err, "WRONGTYPE") }

// noRight reports a command that the user, or the server, does not have, whatever the key holds.
func noRight(err error) bool {
	return says(err, "NOPERM") || says(err, "unknown") || says(err, "Unknown") ||
		says(err, "The user executing the script")
}

func isUnblocked(err error) bool {
	return redis.HasErrorPrefix(err, "UNBLOCKED the stream key") ||
		redis.HasErrorPrefix(err, "-UNBLOCKED the stream key")
}
func crossSlot(err error) bool   { return redis.HasErrorPrefix(err, "CROSSSLOT") }
func refusedKeys(err error) bool { return judge(err) == lostGroup }
func isServerSaid(err error) bool {
	if err == nil {
		return false
	}
	var a redis.Error
	return errors.As(err, &a)
}

// neverSent reports an error that occurred before any byte of a command left this process.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" ||
		errors.Is(
			err,
			redis.ErrPoolTimeout,
		) || errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, redis.ErrClosed)
}

// ended returns why ctx ended, or nil.
func ended(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
