package jobs_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/jobs"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// useAll uses all that a queue can do: jobs that succeed, fail, wait, have a key, and are cancelled.
func useAll(t *testing.T, rdb redis.UniversalClient) {
	t.Helper()
	b := &board{rdb: rdb, name: "all", cfg: jobs.Config{Report: 5 * time.Millisecond}}
	b.Queue = b.another(t)
	later := b.submit(t, "later", jobs.In(time.Hour), jobs.Key("later"))
	queued := b.submit(t, "queued", jobs.Priority("low"))
	for _, id := range []string{later, queued} {
		if err := b.Cancel(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	b.submit(t, "later", jobs.In(time.Hour), jobs.Key("later"))
	b.work(t, func(ctx context.Context, t task) (string, error) {
		switch {
		case t.Value == "fails":
			return "", flow.Reject(errors.New("never"))
		case t.Attempt == 1:
			t.Progress(1, 2, "half")
			return "", flow.RetryAfter(0, errors.New("not yet"))
		}
		return echo(ctx, t)
	})
	if got, err := b.Wait(t.Context(), b.submit(t, "soon", jobs.In(time.Millisecond))); got != "did soon" ||
		err != nil {
		t.Errorf("%q, %v", got, err)
	}
	var failed *jobs.FailedError
	if _, err := b.Wait(t.Context(), b.submit(t, "fails", jobs.Priority("high"))); !errors.As(err, &failed) {
		t.Error(err)
	}
	if all, err := b.Recent(t.Context(), 10); len(all) != 5 || err != nil {
		t.Errorf("%d jobs, %v", len(all), err)
	}
	var depths []jobs.Depth
	redistest.Soon(t, "all entries are settled", func() (settled bool) {
		var err error
		if depths, err = b.Depths(t.Context()); err != nil {
			t.Fatal(err)
		}
		return depths[0].Dead == 1 && depths[0].Taken+depths[1].Taken+depths[2].Taken == 0
	})
	want := []jobs.Depth{{Priority: "high", Dead: 1}, {Priority: "normal", Scheduled: 1}, {Priority: "low"}}
	if diff := cmp.Diff(want, depths); diff != "" {
		t.Errorf("depths (-want +got):\n%s", diff)
	}
}

// A queue works with exactly the rights that it declares.
func TestAccess(t *testing.T) {
	t.Parallel()
	useAll(t, redistest.Start(t).User(t, "program", jobs.Config{}.Access("all").Rules()...))
}

func TestCluster(t *testing.T) {
	t.Parallel()
	useAll(t, redistest.StartCluster(t, 0).Client(t))
}

// A queue without workers has a depth too.
func TestDepthsWithoutWorker(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{Priorities: []jobs.Weighted{{Name: "only", Weight: 1}}})
	for range 3 {
		b.submit(t, "x")
	}
	got, err := b.Depths(t.Context())
	if diff := cmp.Diff([]jobs.Depth{{Priority: "only", Waiting: 3}}, got); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
}
