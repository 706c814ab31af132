package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio/jobstate"
)

// Job is the state of a job with everything known of it.
type Job = jobstate.Job

// State is the state of a job.
type State = jobstate.State

// Progress is how far the current attempt of a job is.
type Progress = jobstate.Progress

// Failure is a failed try of a job.
type Failure = jobstate.Failure

// The states of a job.
const (
	Scheduled = jobstate.Scheduled
	Queued    = jobstate.Queued
	Running   = jobstate.Running
	Retrying  = jobstate.Retrying
	Done      = jobstate.Done
	Failed    = jobstate.Failed
	Cancelled = jobstate.Cancelled
)

// EndedError reports a call that came after the end of the job, such as a cancel of a job that is
// done.
type EndedError = jobstate.EndedError

// TooLargeError reports a value or a result with too many bytes.
type TooLargeError = jobstate.TooLargeError

var (
	// ErrUnknown reports an ID without a job: it was never submitted, or has expired.
	ErrUnknown = jobstate.ErrUnknown
	// ErrExpired reports a job that has certainly expired. It is an ErrUnknown.
	ErrExpired = jobstate.ErrExpired
	// ErrFull reports a queue with too many waiting jobs.
	ErrFull = jobstate.ErrFull
	// ErrCancelled is the cause of a handler's context after its job was cancelled.
	ErrCancelled = errors.New("jobs: the job was cancelled")
	// ErrPriority reports a priority that the queue does not have.
	ErrPriority = errors.New("jobs: no such priority")
	// ErrID reports an ID that a job cannot have.
	ErrID = errors.New("jobs: invalid ID")
)

// FailedError is the error of Wait for a job that ended without a result.
type FailedError struct{ Job Job }

func (e *FailedError) Error() string {
	f := e.Job.Failure
	if f == nil || e.Job.State != Failed {
		return fmt.Sprintf("jobs: job %s is %s", e.Job.ID, e.Job.State)
	}
	stage := ""
	if f.Stage != "" {
		stage = fmt.Sprintf(", stage %q", f.Stage)
	}
	return fmt.Sprintf("jobs: job %s failed in attempt %d%s: %s", e.Job.ID, e.Job.Attempt, stage, f.Error)
}

// Is reports whether target is ErrCancelled and the job was cancelled.
func (e *FailedError) Is(target error) bool {
	return target == ErrCancelled && e.Job.State == Cancelled
}

// Get returns the state of a job, with its result if it is done. The error is ErrUnknown or
// ErrExpired if there is no such job.
func (q *queue) Get(ctx context.Context, id string) (Job, error) {
	if q.err != nil {
		return Job{}, q.err
	}
	return q.store.Get(ctx, id)
}

// Depth is how many jobs of a priority have not ended, and how many dead letters there are.
type Depth = jobstate.Depth

// Depths returns how many jobs of each priority there are, the highest first. Package
// metrics reports it.
func (q *queue) Depths(ctx context.Context) ([]Depth, error) {
	if q.err != nil {
		return nil, q.err
	}
	return q.store.Depths(ctx, group, q.cfg.names()...)
}

// Recent returns the newest jobs without their results, the newest first, at most n, in any state.
func (q *queue) Recent(ctx context.Context, n int) ([]Job, error) {
	if q.err != nil {
		return nil, q.err
	}
	return q.store.Recent(ctx, n)
}

// Cancel cancels a job. One that waits never starts. The context of a handler that works on it is
// done soon, with the cause ErrCancelled. The error is an *EndedError if the job is done or has failed
// before. Cancelling twice is not an error.
func (q *queue) Cancel(ctx context.Context, id string) error {
	if q.err != nil {
		return q.err
	}
	return q.store.Cancel(ctx, id)
}

// Wait waits until a job has ended, and returns its result. The error is a *FailedError if it has
// failed or was cancelled.
func (q *Queue[T, R]) Wait(ctx context.Context, id string) (r R, err error) {
	for j, err := range q.Watch(ctx, id) {
		switch {
		case err != nil:
			return r, err
		case j.State == Done:
			return q.Result(j)
		case j.State.Ended():
			return r, &FailedError{j}
		}
	}
	return r, context.Cause(ctx)
}

// Result returns the result of a job that is done. Without one it is the zero value.
func (q *Queue[T, R]) Result(j Job) (r R, err error) {
	if len(j.Result) == 0 {
		return r, nil
	}
	if err := json.Unmarshal(j.Result, &r); err != nil {
		return r, fmt.Errorf("jobs: decode the result of %s: %w", j.ID, err)
	}
	return r, nil
}

// Watch returns the state of a job, and then each change of it that can be told apart, until it has
// ended. The last state has the result. A watcher that is slow misses states, but not the last. A
// process reads changes once for all its watchers. The loop ends after an error, which is ErrUnknown
// or ErrExpired if there is no such job, and the cause if ctx is done.
func (q *queue) Watch(ctx context.Context, id string) iter.Seq2[Job, error] {
	return func(yield func(Job, error) bool) {
		if err := q.watch(ctx, id, func(j Job) bool { return yield(j, nil) }); err != nil {
			yield(Job{}, err)
		}
	}
}

// again is how often a watcher reads a state that does not change: it may expire, which no notice tells.
const again = time.Minute

// watch calls f with each state of a job, until it has ended or f returns false.
func (q *queue) watch(ctx context.Context, id string, f func(Job) bool) error {
	if q.err != nil {
		return q.err
	}
	if j, err := q.store.Get(ctx, id); err != nil || j.State.Ended() {
		if err == nil {
			f(j)
		}
		return err
	}
	l, err := q.listen(ctx, relay.Options{Topics: []string{id}, Overflow: relay.DropOldest, Idle: again})
	if err != nil {
		return err
	}
	defer l.Close()
	// Read again: the first state may have changed before the listener began.
	for version, stale := int64(0), true; ; {
		if stale {
			j, err := q.store.Get(ctx, id)
			if err != nil {
				return err
			}
			if j.Version > version {
				version = j.Version
				if !f(j) || j.State.Ended() {
					return nil
				}
			}
		}
		b, err := l.Next(ctx)
		if err != nil {
			return q.left(ctx, err)
		}
		stale = b.Gap != nil || len(b.Items) == 0
		for i := range b.Items {
			j := b.Items[i].Value
			switch {
			case j.Version <= version:
			case j.State == Done: // its notice has no result
				stale = true
			default:
				version = j.Version
				if !f(j) || j.State.Ended() {
					return nil
				}
			}
		}
	}
}

// listen listens to changes of jobs.
func (q *queue) listen(ctx context.Context, o relay.Options) (*relay.Listener[Job], error) {
	l, err := q.pool.Listen(ctx, q.store.Config().Notices(), o)
	if err != nil {
		return nil, q.left(ctx, err)
	}
	return l, nil
}

// left returns the error of a listener that has ended.
func (q *queue) left(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, relay.ErrClosed):
		return fmt.Errorf("jobs: the queue was closed: %w", gateways.ErrClosed)
	}
	return fmt.Errorf("%w: jobs: follow %q: %w", gateways.ErrUnavailable, q.name, err)
}
