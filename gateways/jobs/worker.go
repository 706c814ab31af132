package jobs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/jobstate"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// group is the consumer group of the workers of a queue.
const group = "workers"

// ahead is how many jobs of a priority a busy worker has read besides those that run. Fewer would
// give way to a lower priority, and more would keep jobs from idle workers.
const ahead = 2

// Work returns the graph of a worker that calls f for each attempt of a job, for as many jobs at the
// same time as Config.Running says. The value that f returns is the result. An error is a fault of the
// stage "work", which the policy handles. The default policy tries three times in place and then
// again later. The parts are further parts of the graph, such as flow.Faults. For a graph of your
// own use Source.
func (q *Queue[T, R]) Work(f func(context.Context, Task[T, R]) (R, error), parts ...flow.Part) *flow.Graph {
	work := func(ctx context.Context, t Task[T, R]) (struct{}, error) {
		r, err := f(ctx, t)
		if err == nil {
			t.SetResult(r)
		}
		return struct{}{}, err
	}
	opts := []flow.StageOption{flow.Name("work")}
	if q.cfg.Running > 1 {
		opts = append(opts, flow.Workers(q.cfg.Running), flow.Unordered())
	}
	if f == nil {
		work = nil
	}
	done := operators.Map(q.Source(), work, opts...)
	return flow.New("jobs "+q.name, append([]flow.Part{flow.To(done, sink.Discard[struct{}]())}, parts...)...)
}

// Source is the source of tasks for the graph of a worker. A job is done when everything that the graph
// makes of its task is done. It emits no further task while Config.Running jobs have begun and not
// ended. The options apply to the stage that begins jobs.
func (q *Queue[T, R]) Source(opts ...flow.StageOption) flow.Source[Task[T, R]] {
	var ins []flow.Source[entry]
	var weights []int
	for i, cfg := range q.cfg.streams(q.cfg.store(q.name)) {
		p := q.cfg.Priorities[i]
		cfg.Format = entryFormat{priority: p.Name}
		ins = append(ins, source.Stream(q.rdb, cfg, flow.DefaultName(p.Name), flow.InvalidError(q.err)))
		weights = append(weights, p.Weight)
	}
	merged := ins[0]
	if len(ins) > 1 {
		merged = operators.MergeWeighted(ins, weights, flow.DefaultName("priorities"))
	}
	own := []flow.StageOption{
		flow.InvalidError(q.err),
		flow.Traits{Holds: q.cfg.Running, NeverWaits: true, OneWorker: "a job must not overtake a preferred one"},
	}
	return flow.Via(merged, "begin", func() flow.Handler[entry, Task[T, R]] { return &beginner[T, R]{q, rand.Text()} },
		append(own, opts...)...)
}

// streams returns the configurations of the streams, in the order of the priorities.
func (c *Config) streams(store jobstate.Config) (all []source.StreamConfig[entry]) {
	for _, p := range c.Priorities {
		all = append(all, source.StreamConfig[entry]{
			Key: store.Stream(p.Name), DeadKey: store.Dead(p.Name), Group: group,
			MaxInFlight:   c.Running + ahead,
			MaxDeliveries: -1, // the state has the attempts; Begin rejects a job with none left
			Tuning:        reader.Tuning{Lease: c.Lease, MaxCount: c.Running, DeleteSettled: true},
		})
	}
	return all
}

// entry is the entry of a job, not decoded yet, so that the job fails if it cannot be.
type entry struct {
	priority string
	data     []byte
	ct       string
}

// entryFormat reads the entries of a priority.
type entryFormat struct{ priority string }

func (entryFormat) Encode(
	dst redisio.Fields, buf []byte, e *redisio.Envelope, v entry,
) (redisio.Fields, []byte, error) {
	return wire.Native.Encode(dst, buf, e, v.data)
}

func (f entryFormat) Decode(e *redisio.Entry, env *redisio.Envelope) (entry, error) {
	data, err := wire.Native.Decode(e, env)
	return entry{f.priority, data, env.ContentType}, err
}

// beginner begins attempts. Its life is the beginning of their tokens: a delivery that is handled twice,
// because the answer to Begin was lost, is one attempt.
type beginner[T, R any] struct {
	q    *Queue[T, R]
	life string
}

// errDraining means that the graph drains before a job could begin.
var errDraining = errors.New("jobs: the graph drains")

func (b *beginner[T, R]) Handle(ctx context.Context, m flow.Message[entry], emit flow.Emit[Task[T, R]]) error {
	q := b.q
	if err := q.enter(ctx); errors.Is(err, errDraining) {
		flow.Hold(ctx, m).GiveBack()
		return nil
	} else if err != nil {
		return err
	}
	begun := false
	a := newAttempt(m)
	a.entered = true
	defer func() {
		if !begun {
			q.leave(a)
		}
	}()
	if err := q.track(ctx, a); err != nil {
		return err
	}
	why, err := q.store.Begin(ctx, &a.Attempt, fmt.Sprintf("%s %s %d", b.life, a.Entry, m.Attempt()))
	var ended *EndedError
	switch {
	case errors.As(err, &ended) && ended.State == Failed:
		return flow.Reject(errors.New(why))
	case errors.As(err, &ended): // cancelled, or done and not acknowledged
		return flow.Skip
	case redisio.IsPermanent(err):
		return flow.Permanent(err)
	case err != nil:
		return err
	}
	v, err := wire.DecodeBody(q.codec, m.Value.data, m.Value.ct)
	if err != nil {
		failure := &jobstate.Failure{Error: err.Error(), Stage: flow.StageName(ctx)}
		_, failed := q.store.End(ctx, &a.Attempt, jobstate.Result{State: Failed, Failure: failure})
		if failed = unlessLate(failed); failed != nil {
			return failed
		}
		return flow.Reject(err)
	}
	r := &result[R]{}
	t := Task[T, R]{ID: a.ID, Value: v, Priority: a.Priority, Attempt: a.Number, own: a, result: r}
	a.encode = func() ([]byte, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.set {
			return nil, nil
		}
		return q.result.Append(nil, r.value)
	}
	task, watched := flow.Watch(ctx, flow.Derive(m, t), q.ends, a)
	q.runs(a, watched)
	begun = true
	emit(task)
	return nil
}

// newAttempt returns the attempt of an entry. An entry that another program has written may have no ID.
func newAttempt(m flow.Message[entry]) *attempt {
	a := &attempt{}
	meta := m.Meta()
	a.ID, a.Entry, a.Priority = meta.MessageID, meta.ID, m.Value.priority
	a.Key, _ = meta.Headers.Get(headerKey)
	a.Owner, _ = meta.Headers.Get(headerOwner)
	if !jobstate.CheckID(a.ID) {
		a.ID = a.Priority + "." + meta.ID
	}
	return a
}

// enter waits until another job may run here.
func (q *queue) enter(ctx context.Context) error {
	select {
	case q.slots <- struct{}{}:
		return nil
	default:
	}
	// Passes on the tasks that wait in this lane: they may be those that run.
	if err := flow.Sleep(ctx, 0); err != nil {
		return err
	}
	select {
	case q.slots <- struct{}{}:
		return nil
	case <-flow.DrainStarted(ctx):
		return errDraining
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leave makes room for another job. A second call does nothing.
func (q *queue) leave(a *attempt) {
	q.mu.Lock()
	if !a.entered {
		q.mu.Unlock()
		return
	}
	a.entered = false
	delete(q.running, a)
	heard := q.heard
	same := slices.ContainsFunc(q.here(), func(other *attempt) bool { return other.ID == a.ID })
	q.mu.Unlock()
	if heard != nil && !same {
		heard.Remove(a.ID)
	}
	<-q.slots
}

// here returns the attempts that run here. The caller holds the lock.
func (q *queue) here() []*attempt {
	all := make([]*attempt, 0, len(q.running))
	for a := range q.running {
		all = append(all, a)
	}
	return all
}

// runs records an attempt that has begun.
func (q *queue) runs(a *attempt, watched flow.Watched) {
	q.mu.Lock()
	defer q.mu.Unlock()
	a.watched = watched
	q.running[a] = struct{}{}
}
