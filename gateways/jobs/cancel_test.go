package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/jobs"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
)

func TestJobCancel(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{Running: 1})
	started, cause := make(chan string, 10), make(chan error, 10)
	queued := b.submit(t, "queued", jobs.Key("k"))
	if err := errors.Join(b.Cancel(t.Context(), queued), b.Cancel(t.Context(), queued)); err != nil {
		t.Fatal(err)
	}
	if n := b.rdb.XLen(t.Context(), "{"+b.name+"}:jobs:normal").Val(); n != 0 {
		t.Errorf("%d entries are left", n)
	}
	b.work(t, func(ctx context.Context, t task) (string, error) {
		started <- t.Value
		if t.Value == "free" {
			return "", nil
		}
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return "", ctx.Err()
	})
	running := b.submit(t, "running", jobs.Key("k")) // the key is free again
	if v := <-started; v != "running" {
		t.Errorf("%s has started", v)
	}
	waiting := b.submit(t, "waiting") // perhaps read ahead
	if err := b.another(t).Cancel(t.Context(), waiting); err != nil {
		t.Error(err)
	}
	if err := b.another(t).Cancel(t.Context(), running); err != nil {
		t.Error(err)
	}
	if err := <-cause; !errors.Is(err, jobs.ErrCancelled) {
		t.Errorf("cause: %v", err)
	}
	free := b.submit(t, "free")
	if v := <-started; v != "free" {
		t.Errorf("%s has started", v)
	}
	if _, err := b.Wait(t.Context(), free); err != nil {
		t.Error(err)
	}
	var ended *jobs.EndedError
	if err := b.Cancel(t.Context(), free); !errors.As(err, &ended) || ended.State != jobs.Done {
		t.Errorf("cancel after the end: %v", err)
	}
	for _, id := range []string{queued, running, waiting} {
		if _, err := b.Wait(t.Context(), id); !errors.Is(err, jobs.ErrCancelled) {
			t.Errorf("wait: %v", err)
		}
	}
	redistest.Soon(t, "nothing is pending", func() bool {
		p, err := b.rdb.XPending(t.Context(), "{"+b.name+"}:jobs:normal", "workers").Result()
		return err == nil && p.Count == 0
	})
}

// Of a cancel and a completion one wins, and both sides see the same winner.
func TestJobCancelRaces(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{})
	var begun sync.Map // job to a channel that is closed when it begins
	done := operators.Map(b.Source(), func(_ context.Context, t task) (struct{}, error) {
		t.SetResult("made")
		if c, ok := begun.Load(t.ID); ok {
			close(c.(chan struct{}))
		}
		return struct{}{}, nil
	}, flow.Workers(8), flow.Unordered())
	rig.Start(t, flow.New("g", flow.To(done, sink.Discard[struct{}]())))
	const n = 300
	var mu sync.Mutex
	count := make(map[string]int)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			id, now := fmt.Sprint("job-", i), make(chan struct{})
			if i%2 == 0 {
				begun.Store(id, now)
			}
			if _, _, err := b.Submit(t.Context(), "x", jobs.ID(id)); err != nil {
				t.Error(err)
				return
			}
			cancelled := make(chan error, 1)
			go func() {
				if i%2 == 0 { // while it runs
					<-now
				}
				cancelled <- b.Cancel(t.Context(), id)
			}()
			r, err := b.Wait(t.Context(), id)
			var ended *jobs.EndedError
			lost := <-cancelled
			verdict := "neither"
			switch {
			case lost == nil && errors.Is(err, jobs.ErrCancelled):
				verdict = "cancelled"
			case errors.As(lost, &ended) && ended.State == jobs.Done && err == nil && r == "made":
				verdict = "done"
			default:
				t.Errorf("job %s: cancel: %v, wait: %q %v", id, lost, r, err)
			}
			mu.Lock()
			defer mu.Unlock()
			count[verdict]++
		})
	}
	all.Wait()
	if count["cancelled"]+count["done"] != n {
		t.Errorf("%v", count)
	}
	t.Log(count)
	redistest.Soon(t, "nothing is pending", func() bool {
		p, err := b.rdb.XPending(t.Context(), "{"+b.name+"}:jobs:normal", "workers").Result()
		return err == nil && p.Count == 0
	})
	if n := b.rdb.XLen(t.Context(), "{"+b.name+"}:jobs:normal:dead").Val(); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// A lost notice delays a cancel, but does not lose it.
func TestJobCancelWithoutNotice(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{})
	started, cause := make(chan struct{}), make(chan error)
	b.work(t, func(ctx context.Context, t task) (string, error) {
		close(started)
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return "", ctx.Err()
	})
	id := b.submit(t, "x")
	<-started
	state := "{" + b.name + "}:job:" + id
	if err := b.rdb.HSet(t.Context(), state, "state", "cancelled").Err(); err != nil {
		t.Fatal(err)
	}
	if err := <-cause; !errors.Is(err, jobs.ErrCancelled) {
		t.Errorf("cause: %v", err)
	}
}

// A drain gives back the jobs that have not begun, and the attempt of one that is stopped does not
// count.
func TestJobsDrain(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{Running: 1, MaxAttempts: 1})
	started := make(chan struct{}, 10)
	g := b.Work(func(ctx context.Context, t task) (string, error) {
		started <- struct{}{}
		<-ctx.Done()
		return "", ctx.Err()
	}, flow.DrainTimeout(0), flow.KillGrace(redistest.Patience), flow.AckTimeout(redistest.Patience))
	run, err := g.Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	one := b.submit(t, "one")
	two := b.submit(t, "two")
	<-started
	_, _ = run.Drain(context.Background()) // it names the stage that was stopped
	for _, id := range []string{one, two} {
		if j, err := b.Get(t.Context(), id); err != nil || j.State != jobs.Queued {
			t.Errorf("%+v, %v", j, err)
		}
	}
	b.work(t, echo)
	for _, id := range []string{one, two} {
		if _, err := b.Wait(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
}
