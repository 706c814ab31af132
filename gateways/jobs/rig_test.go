package jobs_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/jobs"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// board is a queue for one test.
type board struct {
	*jobs.Queue[string, string]
	rdb  redis.UniversalClient
	name string
	cfg  jobs.Config
}

func newBoard(t testing.TB, cfg jobs.Config) *board {
	t.Helper()
	if cfg.Report == 0 {
		cfg.Report = 5 * time.Millisecond
	}
	b := &board{rdb: redistest.Shared(t).Client(t), name: redistest.Key(t), cfg: cfg}
	b.Queue = b.another(t)
	return b
}

// another returns the queue as another process has it.
func (b *board) another(t testing.TB) *jobs.Queue[string, string] {
	t.Helper()
	q := jobs.New[string, string](b.rdb, b.name, b.cfg)
	if err := q.Validate(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
		defer cancel()
		if err := q.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return q
}

// work runs a worker until the test ends.
func (b *board) work(t testing.TB, f func(context.Context, task) (string, error)) {
	t.Helper()
	rig.Start(t, b.Work(f))
}

type task = jobs.Task[string, string]

func (b *board) submit(t testing.TB, v string, opts ...jobs.SubmitOption) string {
	t.Helper()
	id, created, err := b.Submit(t.Context(), v, opts...)
	if err != nil || !created {
		t.Fatalf("submit %s: created %v, %v", v, created, err)
	}
	return id
}

// until waits for a state of a job.
func (b *board) until(t testing.TB, id string, is func(jobs.Job) bool) jobs.Job {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	defer cancel()
	var last jobs.Job
	for j, err := range b.Watch(ctx, id) {
		if err != nil {
			t.Fatalf("job %s: %v; it was last %+v", id, err, last)
		}
		if last = j; is(j) {
			return j
		}
	}
	t.Fatalf("job %s ended as %+v", id, last)
	return last
}

func in(s jobs.State) func(jobs.Job) bool { return func(j jobs.Job) bool { return j.State == s } }

func echo(_ context.Context, t task) (string, error) { return "did " + t.Value, nil }
