package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// Advice returns the remedy for a permanent error, or "".
func Advice(err error) string {
	switch {
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return "; the key is not a stream: choose another key"
	case redis.HasErrorPrefix(err, "NOAUTH"), redis.HasErrorPrefix(err, "WRONGPASS"):
		return "; check user and password of the Redis client"
	case NoRight(err) && !Says(err, "unknown command"):
		return "; grant the user this command and key (ACL SETUSER)"
	case NoCommand(err):
		return "; the server is too old or lacks streams: Redis 7.0 or newer is needed"
	}
	return ""
}

// OutcomeError holds the outcome of a failed write and its cause.
type OutcomeError struct {
	Outcome error // ErrNotWritten or ErrUnknownOutcome
	Cause   error
}

func (e *OutcomeError) Error() string {
	return e.Outcome.Error() + ": " + strings.TrimPrefix(e.Cause.Error(), "redisio: ")
}

// Unwrap returns the outcome and the cause.
func (e *OutcomeError) Unwrap() []error { return []error{e.Outcome, e.Cause} }

// ReplyError is an error reply found in a raw reply. It is a redis.Error, so redis.HasErrorPrefix works.
type ReplyError string

func (e ReplyError) Error() string { return string(e) }

// RedisError marks a redis.Error.
func (ReplyError) RedisError() {}

// verdict is the meaning of a command's error for the loop that sent it.
type verdict int

const (
	Fine      verdict = iota
	LostGroup         // the stream or the group is missing: create it again
	Moved             // another cluster node has the slot
	Later             // the server answered that it can't serve now
	Broken            // no answer: the connection broke, the outcome is unknown
	Permanent         // the server answered, and a retry gets the same answer
)

// Judge returns the meaning of an error. Only Judge and its helpers in this file match the texts of
// Redis errors.
func Judge(err error) verdict {
	if err == nil || errors.Is(err, redis.Nil) {
		return Fine
	}
	var answer redis.Error
	if !errors.As(err, &answer) {
		return Broken
	}
	if waiting := (*RefusedError)(nil); errors.As(err, &waiting) {
		return Later
	}
	for _, p := range [...]struct {
		prefix string
		v      verdict
	}{
		{"NOGROUP", LostGroup}, {"UNBLOCKED the stream key", LostGroup}, {"-UNBLOCKED the stream key", LostGroup},
		{"no such key", LostGroup}, {"The XGROUP subcommand requires the key", LostGroup},
		{"MOVED ", Moved}, {"ASK ", Moved}, {"TRYAGAIN", Moved},
		{"UNBLOCKED", Later}, {"LOADING", Later}, {"READONLY", Later}, {"MASTERDOWN", Later}, {"CLUSTERDOWN", Later},
		{"NOREPLICAS", Later}, {"BUSY ", Later}, {"OOM", Later}, {"MISCONF", Later}, {"max number of clients", Later},
	} {
		if Says(err, p.prefix) {
			return p.v
		}
	}
	// A script reports the error of a command it ran inside its own text.
	if s := err.Error(); strings.Contains(s, "NOGROUP") {
		return LostGroup
	}
	return Permanent
}

// IsCut reports whether err is that of an established connection that broke before the answer.
func IsCut(err error) bool {
	for _, of := range [...]error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, of) {
			return true
		}
	}
	return false
}

// Says reports whether an answer of the server begins with prefix. The answer to EXEC quotes that
// of the refused command.
func Says(err error, prefix string) bool {
	return redis.HasErrorPrefix(err, prefix) ||
		redis.HasErrorPrefix(err, "EXECABORT Transaction discarded because of: "+prefix)
}

// Discarded returns the cause of a failed transaction. EXEC only reports that a command was
// refused, so the cause is that command's answer.
func Discarded(cmds []redis.Cmder, err error) error {
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

// GroupExists reports whether err says that the group exists.
func GroupExists(err error) bool { return redis.HasErrorPrefix(err, "BUSYGROUP") }

// IsFull reports whether the server is out of memory.
func IsFull(err error) bool { return Says(err, "OOM") }

// WrongServer reports whether the answer is that of a server that does not take writes, or not on
// this connection. A new connection may lead to another server.
func WrongServer(err error) bool {
	return LostConnection(err) || Says(err, "READONLY")
}

// IsWrongType reports whether the key holds another type.
func IsWrongType(err error) bool { return Says(err, "WRONGTYPE") }

// NoRight reports whether the user may not run the command, or the server does not have it. It does
// not depend on what the key holds.
func NoRight(err error) bool {
	return Says(err, "NOPERM") || Says(err, "unknown") || Says(err, "Unknown") ||
		Says(err, "The user executing the script")
}

// Forbids reports whether the user lacks a right to a command or a key. NoRight also reports commands
// that the server lacks. Forbids also looks into errors that only quote the server's answer.
func Forbids(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "NOPERM ") ||
		strings.Contains(err.Error(), "The user executing the script") ||
		strings.Contains(err.Error(), "ACL failure in script"))
}

// NoCommand reports whether the server lacks the command.
func NoCommand(err error) bool { return redis.HasErrorPrefix(err, "unknown command") }

// OfScript is an error that a script returned as text. Redis 7.0 reports a missing right in another
// form there.
func OfScript(text string) ReplyError {
	if Says(ReplyError(text), "The user executing the script") {
		text = "NOPERM " + strings.TrimPrefix(text, "ERR ")
	}
	return ReplyError(text)
}

// IsKeyFault reports whether err is a permanent answer about one key, not about the user, the
// server or the command.
func IsKeyFault(err error) bool {
	if Judge(err) != Permanent {
		return false
	}
	for _, p := range [...]string{"NOAUTH", "WRONGPASS", "unknown", "Unknown"} {
		if Says(err, p) {
			return false
		}
	}
	text := err.Error()
	rights := Says(err, "NOPERM") || strings.Contains(text, "ACL failure in script")
	return !rights || !strings.Contains(text, " command") // "… to run the 'xadd' command"
}

// LostConnection reports whether the answer asks for another connection: the server waits for
// replicas, or does not know the user any more.
func LostConnection(err error) bool { return Says(err, "NOREPLICAS") || Says(err, "NOAUTH") }

// IsUnblocked reports whether a blocked read ended because its stream key is gone.
func IsUnblocked(err error) bool {
	return redis.HasErrorPrefix(err, "UNBLOCKED the stream key") ||
		redis.HasErrorPrefix(err, "-UNBLOCKED the stream key")
}

// CrossSlot reports whether the keys of a command are in different slots.
func CrossSlot(err error) bool { return redis.HasErrorPrefix(err, "CROSSSLOT") }

// RefusedKeys reports whether the stream or the group is missing.
func RefusedKeys(err error) bool { return Judge(err) == LostGroup }

// IsServerSaid reports whether err is an answer of the server.
func IsServerSaid(err error) bool {
	if err == nil {
		return false
	}
	var a redis.Error
	return errors.As(err, &a)
}

// NeverSent reports whether err occurred before any byte of the command was sent.
func NeverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" ||
		errors.Is(
			err,
			redis.ErrPoolTimeout,
		) || errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, redis.ErrClosed)
}

// Ended returns the cause of the end of ctx, or nil.
func Ended(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// ErrGroupGone marks a GroupLostError as permanent.
const ErrGroupGone = ReplyError("the group is gone")

// IsGroupLost reports whether err is, or wraps, ErrGroupGone.
func IsGroupLost(err error) bool { return errors.Is(err, ErrGroupGone) }

// ErrNoRoom marks a write for which there is no room now.
var ErrNoRoom = errors.New("redisio: no room now")

// Is reports whether target is ErrNoRoom and the server is out of memory.
func (e *OutcomeError) Is(target error) bool { return target == ErrNoRoom && IsFull(e.Cause) }

// RefusedError is a refusal that is still retried.
type RefusedError struct {
	Err  error
	Left time.Duration // time until it is treated as permanent
}

func (e *RefusedError) Error() string { return e.Err.Error() + Advice(e.Err) }

// Unwrap returns the server's answer.
func (e *RefusedError) Unwrap() error { return e.Err }

// MayPass reports whether a permanent answer may be temporary after all, because a credential is
// late or a proxy gave the answer.
func MayPass(err error) bool {
	for _, p := range [...]string{"NOAUTH", "WRONGPASS", "NOPROTO"} {
		if Says(err, p) {
			return true
		}
	}
	if IsGroupLost(err) || NoRight(err) {
		return false
	}
	for _, p := range [...]string{
		"WRONGTYPE", "CROSSSLOT", "EXECABORT", "BUSYGROUP", "BUSYKEY", "NOSCRIPT", "NOTBUSY", "UNKILLABLE", "XX ",
		"syntax error", "wrong number of arguments", "The ID", "Invalid", "invalid", "value is", "Error ",
		"user_script",
		"Number of keys", "Protocol error", "bad lua script", "string exceeds", "Elements are too large",
		"the dead letter",
		"MULTI", "EXEC", "DISCARD", "WATCH", "XADD", "XGROUP", "The XGROUP", "LIMIT", "COUNT", "MAXLEN", "MINID",
		"This instance", "DB index",
	} {
		if Says(err, p) {
			return false
		}
	}
	return true
}
