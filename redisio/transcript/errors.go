package transcript

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

var (
	// ErrUnknown: no transcript has this name, or it has expired.
	ErrUnknown = errors.New("transcript: unknown or expired")
	// ErrFenced: a later attempt writes the transcript. The writer must stop.
	ErrFenced = errors.New("transcript: a later attempt writes it")
	// ErrBehind: Redis has lost entries that were written, for example in a failover. A new attempt
	// continues with what is left.
	ErrBehind = errors.New("transcript: written entries are lost")
	// ErrForeign: a reply is written by its claim only, and a log only by Post.
	ErrForeign = errors.New("transcript: written in another way")
	// ErrExhausted: the reply has failed because Config.MaxAttempts writers did not finish it.
	ErrExhausted = errors.New("transcript: too many attempts")
	// ErrLate: the time of expiry has passed.
	ErrLate = errors.New("transcript: expiry in the past")
)

// EndedError reports a write to a transcript that has ended.
type EndedError struct{ State State }

func (e *EndedError) Error() string { return "transcript: has ended: " + string(e.State) }

// TooLargeError reports an entry that is larger than Config.MaxPart. It was not written.
type TooLargeError struct{ Size, Limit int }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("transcript: a part has %d bytes, more than MaxPart %d: send it in pieces", e.Size, e.Limit)
}

// NameError reports an invalid name of a transcript.
type NameError struct{ Name string }

func (e *NameError) Error() string {
	return fmt.Sprintf("transcript: invalid name %.60q: use 1 to %d bytes", e.Name, mostName)
}

// checkName reports an invalid name.
func checkName(id string) error {
	if id == "" || len(id) > mostName {
		return &NameError{id}
	}
	return nil
}

// refusal returns the error of a script's status.
func refusal(status string) error {
	switch status {
	case "missing":
		return ErrUnknown
	case "fenced":
		return ErrFenced
	case "behind":
		return ErrBehind
	case "foreign":
		return ErrForeign
	case "exhausted":
		return ErrExhausted
	case "late":
		return ErrLate
	case string(Done), string(Failed), string(Stopped):
		return &EndedError{State(status)}
	}
	return fmt.Errorf("transcript: unknown status %q", status)
}

// run runs a script until Redis answers, for at most wait. All scripts may be repeated.
func (s *Store) run(
	ctx context.Context,
	op, id string,
	wait time.Duration,
	script *redis.Script,
	keys []string,
	args ...any,
) (reply any, err error) {
	err = fault.WaitFor(ctx, max(wait, 0), func() (err error) {
		reply, err = script.Run(ctx, s.rdb, keys, args...).Result()
		return err
	})
	return reply, check.KeyError(op, s.StreamKey(id), err)
}

// parts returns the elements of a script's reply.
type parts []any

func partsOf(reply any) parts {
	list, _ := reply.([]any)
	return list
}

func (p parts) text(i int) string {
	if i >= len(p) {
		return ""
	}
	switch v := p[i].(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return ""
}

func (p parts) number(i int) int64 { return number(p.text(i)) }

// number parses what a script has written.
func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64) // scripts write nothing else
	return n
}

// ID returns the ID of entry n.
func entryID(base string, n int64) redisio.ID {
	return redisio.ID{Ms: uint64(number(base)), Seq: uint64(n)}
}
