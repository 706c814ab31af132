package gather

import (
	"errors"
	"fmt"

	"github.com/streamerson/streamerson-go/redisio"
)

var (
	// ErrUnknown reports a gather that does not exist: it has expired, or was never opened.
	ErrUnknown = errors.New("gather: no such gather, or it has expired")

	// ErrOver reports an operation on a gather that is closed, or that has no time left.
	ErrOver = errors.New("gather: the gather is over")

	// ErrFull reports that as many parts wait as Config.MaxQueued allows. It wraps
	// redisio.ErrBackpressure: send the rest later, when workers have made room.
	ErrFull = fmt.Errorf("gather: too many parts wait for workers: %w", redisio.ErrBackpressure)

	// ErrTooMany reports one participant or producer more than expected.
	ErrTooMany = errors.New("gather: more participants than expected")
)

// TooLargeError reports something that is larger than it may be. Nothing of it was written.
type TooLargeError struct {
	What  string // such as "part 7" or "the results"
	Size  int    // in bytes, or the number of parts
	Limit int
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("gather: %s: %d is more than the limit of %d", e.What, e.Size, e.Limit)
}

// Is reports whether target is redisio.ErrNotWritten.
func (e *TooLargeError) Is(target error) bool { return target == redisio.ErrNotWritten }
