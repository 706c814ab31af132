package jobs

import (
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/jobstate"
)

// Task is an attempt of a job in the graph of a worker. Its methods may be called by any stage, from
// any goroutine, until the job has ended.
type Task[T, R any] struct {
	ID       string
	Value    T
	Priority string
	Attempt  int // counted from 1
	own      *attempt
	result   *result[R]
}

// Progress reports how much of the job is done, in any unit, with a note for people; a total of 0 is
// unknown. It does no I/O: the worker stores the last report, at most every Config.Report.
func (t Task[T, R]) Progress(done, total int64, note string) {
	if t.own == nil {
		return
	}
	t.own.mu.Lock()
	defer t.own.mu.Unlock()
	t.own.done, t.own.total, t.own.note = done, total, note
}

// SetResult sets the result of the job, which is stored when the job is done.
func (t Task[T, R]) SetResult(r R) { t.Update(func(to *R) { *to = r }) }

// Update changes the result of the job. It is for graphs with stages that add to the result. Each
// attempt begins with the zero value. f runs under a lock: it must be quick, and must not call the
// task.
func (t Task[T, R]) Update(f func(*R)) {
	if t.result == nil {
		return
	}
	t.result.mu.Lock()
	defer t.result.mu.Unlock()
	f(&t.result.value)
	t.result.set = true
}

// result is the result of an attempt so far.
type result[R any] struct {
	mu    sync.Mutex
	value R
	set   bool
}

// attempt is an attempt that runs here.
type attempt struct {
	jobstate.Attempt
	watched flow.Watched
	encode  func() ([]byte, error) // the result
	over    bool                   // its end is recorded; owned by the watcher
	entered bool                   // it takes a slot of the queue; guarded by the queue's mu

	mu          sync.Mutex // guards what the handler reported
	done, total int64
	note        string

	last struct { // owned by the reporting task
		progress jobstate.Progress
		failure  *flow.Fault
		retry    time.Time
		told     time.Time
		settled  time.Time // since when everything made of it is done
	}
}

// progress returns the progress and the last failure that may be retried in place; nil without one.
func (a *attempt) progress() (p jobstate.Progress, f *flow.Fault, retry time.Time) {
	w := a.watched.Progress()
	a.mu.Lock()
	defer a.mu.Unlock()
	p = jobstate.Progress{Leaves: w.Leaves, Settled: w.Settled, Stages: w.Stages, Done: a.done, Total: a.total,
		Note: a.note}
	return p, w.Fault, w.Retry
}

// failureOf describes a fault.
func failureOf(f *flow.Fault, retry time.Time) *jobstate.Failure {
	if f == nil {
		return nil
	}
	return &jobstate.Failure{Error: f.Err.Error(), Stage: f.Stage, Tries: f.Tries, Retry: retry}
}
