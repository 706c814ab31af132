package flow

import (
	"context"
	"fmt"
	"time"
)

// Task makes a branch without a source: a background loop that belongs to the graph. f runs until
// stop is closed, which happens when the graph drains or is stopped. It may then clean up for as
// long as ctx is not done, which is until Stop or the end of DrainTimeout.
//
// If f returns nil, the task has ended. If f returns an error or panics, it is called again after a
// backoff, like a stage that failed (see Restarts). An error that it returns after stop was closed
// is the result of the graph, unless the graph has an earlier one. The graph does not wait for its
// tasks: when all its sources have ended, it drains. A graph that has only tasks runs until all
// of them have ended.
//
// Pause has no effect on a task. Options that apply: Name.
func Task(name string, f func(ctx context.Context, stop <-chan struct{}) error, opts ...StageOption) Branch {
	n := newNode(kindTask, name, 0, opts)
	n.OneWorker = "a task runs on one goroutine; give the graph several tasks"
	n.needs(f != nil, "f")
	return Branch{node: n, link: func(b *builder) {
		r := b.run
		s := &stageBase{holding: holding{over: true}} // it has no messages to hold
		s.init(newLane(r), r.stages[n])
		b.island([]*node{n}, func() {}, func() error {
			err := guard(s.ctx, func(ctx context.Context) error { return f(ctx, r.reading.Done()) })
			if err != nil && r.reading.Err() != nil && r.hard.Err() == nil {
				r.unclean(&StageError{Graph: r.graph.name, Stage: s.st.name, Err: err})
			}
			return err
		}).wanted = b.untilDrain
	}}
}

// Every returns a function for Task that calls f every d until stop is closed. Calls do not
// overlap: while f runs, ticks are dropped. An error of f is logged, and the next tick calls f
// again. A Permanent error stops the graph.
func Every(
	d time.Duration, f func(ctx context.Context, now time.Time) error,
) func(ctx context.Context, stop <-chan struct{}) error {
	if f == nil {
		return nil // Validate reports it for the task
	}
	return func(ctx context.Context, stop <-chan struct{}) error {
		if d <= 0 {
			return Permanent(fmt.Errorf("flow: Every: the interval is %v; give a positive duration", d))
		}
		t := time.NewTicker(d)
		defer t.Stop()
		for {
			select {
			case <-stop:
				return nil
			case now := <-t.C:
				err := f(ctx, now)
				if IsPermanent(err) {
					return err
				}
				if err != nil {
					Logger(ctx).Warn("task failed, will try again", "stage", StageName(ctx), "error", err)
				}
			}
		}
	}
}
