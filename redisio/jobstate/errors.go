package jobstate

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrUnknown reports an ID without a job: it was never submitted, or has expired.
	ErrUnknown = errors.New("jobs: no such job")
	// ErrExpired reports a job that has certainly expired, because its ID is older than the time for
	// which jobs are kept. It is an ErrUnknown.
	ErrExpired error = expired{}
	// ErrStale reports an attempt that is no longer the current one: another worker has the job.
	ErrStale = errors.New("jobs: another worker has the job")
	// ErrFull reports a queue with as many waiting jobs as it may have. Submit later.
	ErrFull = errors.New("jobs: the queue is full")
)

type expired struct{}

func (expired) Error() string { return "jobs: the job has expired" }

func (expired) Is(target error) bool { return target == ErrUnknown }

// EndedError reports a call that came after the end of the job: a cancel of a job that is done, or
// the completion of one that was cancelled.
type EndedError struct {
	ID    string
	State State
}

func (e *EndedError) Error() string {
	return fmt.Sprintf("jobs: job %s has ended before: it is %s", e.ID, e.State)
}

// TooLargeError reports a payload or a result with too many bytes. Nothing of it was stored.
type TooLargeError struct {
	What  string // "payload" or "result"
	Size  int
	Limit int
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("jobs: %s has %d bytes, more than %d", e.What, e.Size, e.Limit)
}

// unknown returns the error of a missing job.
func (s *Store) unknown(id string, now time.Time) error {
	if at, ok := timeOf(id); ok && at.Before(now.Add(-s.cfg.Keep)) {
		return fmt.Errorf("%w: %s", ErrExpired, cut(id))
	}
	return fmt.Errorf("%w: %s", ErrUnknown, cut(id))
}
