package jobs

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio/jobstate"
)

// heartbeat is how often a running job confirms that it is still the current attempt. A cancel comes
// earlier, by a notice, unless that was lost.
const heartbeat = 2 * time.Second

// track starts what watches over running jobs, before the first one begins, and hears of a cancel of
// this one from here on.
func (q *queue) track(ctx context.Context, a *attempt) error {
	q.mu.Lock()
	heard, closed := q.heard, q.closed
	q.mu.Unlock()
	if closed {
		return flow.Permanent(gateways.ErrClosed)
	}
	if heard == nil {
		l, err := q.listen(ctx, relay.Options{Overflow: relay.DropOldest})
		if err != nil {
			return err
		}
		if heard, err = q.attend(l); err != nil {
			return err
		}
	}
	heard.Add(a.ID)
	return nil
}

// attend starts the tasks with a listener, unless another lane has done so.
func (q *queue) attend(l *relay.Listener[Job]) (*relay.Listener[Job], error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.heard != nil || q.closed {
		l.Close()
		if q.closed {
			return nil, flow.Permanent(gateways.ErrClosed)
		}
		return q.heard, nil
	}
	if q.tasks == nil {
		g := flow.New("jobs of "+q.name, flow.Log(q.cfg.Log),
			flow.Task("report", flow.Every(q.cfg.Report, func(ctx context.Context, _ time.Time) error {
				q.report(ctx)
				return nil
			})),
			flow.Task("cancel", q.hear))
		// It belongs to the queue, not to the graph of the worker.
		run, err := g.Start(context.Background())
		if err != nil {
			l.Close()
			return nil, err
		}
		q.tasks = run
	}
	q.heard = l
	select {
	case q.heardNew <- struct{}{}:
	default:
	}
	return l, nil
}

// hear reads the notices, and cancels the work on jobs that were cancelled.
func (q *queue) hear(ctx context.Context, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		case <-ctx.Done():
			return nil
		default:
		}
		q.mu.Lock()
		l := q.heard
		q.mu.Unlock()
		if l == nil { // not stored by attend yet, or failed
			select {
			case <-q.heardNew:
			case <-stop:
			case <-ctx.Done():
			}
			continue
		}
		b, err := l.Next(ctx)
		if err != nil {
			q.mu.Lock()
			if q.heard == l {
				q.heard = nil // the next job makes another; until then there are heartbeats
			}
			q.mu.Unlock()
			l.Close()
			continue
		}
		for i := range b.Items {
			if j := &b.Items[i].Value; j.State == Cancelled {
				q.interrupt(j.ID, ErrCancelled)
			}
		}
	}
}

// interrupt cancels the work on a job here.
func (q *queue) interrupt(id string, cause error) {
	q.mu.Lock()
	all := q.here()
	q.mu.Unlock()
	for _, a := range all {
		if a.ID == id {
			a.watched.Cancel(cause)
		}
	}
}

// report stores the progress of the running jobs that has changed.
func (q *queue) report(ctx context.Context) {
	q.mu.Lock()
	all := q.here()
	q.mu.Unlock()
	for _, a := range all {
		if ctx.Err() != nil {
			return
		}
		q.reportOne(ctx, a)
	}
}

func (q *queue) reportOne(ctx context.Context, a *attempt) {
	p, fault, retry := a.progress()
	now := time.Now()
	if p.Settled == p.Leaves {
		q.forget(a, now)
		return
	}
	var progress *jobstate.Progress
	var failure *jobstate.Failure
	if !reflect.DeepEqual(p, a.last.progress) {
		progress = &p
	}
	if fault != nil && (fault != a.last.failure || !retry.Equal(a.last.retry)) {
		failure = failureOf(fault, retry)
	}
	if progress == nil && failure == nil && now.Sub(a.last.told) < heartbeat {
		return
	}
	err := q.store.Report(ctx, &a.Attempt, progress, failure)
	var ended *EndedError
	switch {
	case err == nil:
		a.last.progress, a.last.failure, a.last.retry, a.last.told = p, fault, retry, now
	case errors.As(err, &ended) && ended.State == Cancelled:
		a.watched.Cancel(ErrCancelled)
	case errors.As(err, &ended), errors.Is(err, jobstate.ErrStale):
		// This attempt may have ended since its progress was read; then this does nothing.
		a.watched.Cancel(jobstate.ErrStale)
	case ctx.Err() == nil && !errors.Is(err, ErrUnknown):
		q.cfg.Log.Warn("jobs: the progress was not stored", "queue", q.name, "job", a.ID, "error", err)
	}
}

// forgetAfter is how long the end of a settled attempt may take to be recorded. It is longer than a
// graph needs to end: one that was stopped may not tell its watchers.
const forgetAfter = time.Minute

// forget leaves the end of a settled attempt to the watcher, unless that never comes.
func (q *queue) forget(a *attempt, now time.Time) {
	if a.last.settled.IsZero() {
		a.last.settled = now
	}
	if now.Sub(a.last.settled) > forgetAfter {
		q.leave(a)
	}
}

// ended records how attempts ended, before their entries are settled.
func (q *queue) ended(ctx context.Context, ends []flow.End) error {
	var failed error
	for i := range ends {
		a := ends[i].Tag.(*attempt)
		if a.over {
			continue
		}
		if err := q.end(ctx, a, &ends[i]); err != nil {
			failed = err
			if ctx.Err() == nil {
				continue
			}
		}
		a.over = true
		q.leave(a)
	}
	return failed
}

// end records the end of an attempt. An answer that the attempt does not count any more is no error.
func (q *queue) end(ctx context.Context, a *attempt, e *flow.End) error {
	_, err := q.store.End(ctx, &a.Attempt, q.resultOf(a, e))
	if err != nil && unlessLate(err) == nil {
		q.cfg.Log.Info(
			"jobs: an attempt came too late",
			"queue",
			q.name,
			"job",
			a.ID,
			"attempt",
			a.Number,
			"error",
			err,
		)
		return nil
	}
	return err
}

// unlessLate returns the error of an attempt that could not end, nil if the job has ended before or has
// another attempt.
func unlessLate(err error) error {
	var ended *EndedError
	if errors.As(err, &ended) || errors.Is(err, jobstate.ErrStale) {
		return nil
	}
	return err
}

// resultOf returns what is recorded of an end.
func (q *queue) resultOf(a *attempt, e *flow.End) jobstate.Result {
	p, _, _ := a.progress()
	r := jobstate.Result{Progress: &p, Failure: failureOf(e.Fault, time.Time{})}
	switch e.Outcome {
	case flow.Acked, flow.Dropped:
		r.State, r.Failure = Done, nil
		if e.Fault != nil && (errors.Is(e.Fault.Err, ErrCancelled) || errors.Is(e.Fault.Err, jobstate.ErrStale)) {
			r.State = Queued // the answer says that it was cancelled
			return r
		}
		value, err := a.encode()
		if err == nil && len(value) > q.cfg.MaxResult {
			err = &TooLargeError{What: "result", Size: len(value), Limit: q.cfg.MaxResult}
		}
		if err != nil {
			r.State, r.Failure = Failed, &jobstate.Failure{Error: err.Error()}
			return r
		}
		r.Value = value
	case flow.Dead:
		r.State = Failed
	default:
		r.State = Retrying
		if e.Fault == nil {
			r.State = Queued // given back unfinished
		} else {
			r.Failure.Retry = time.Now().Add(e.Fault.After)
		}
	}
	return r
}
