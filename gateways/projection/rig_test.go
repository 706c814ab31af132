package projection

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/eventstore"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/view"
)

// paid is the event of the tests.
type paid struct {
	Amount int64
	Bad    bool // the first tries to apply it fail
}

func testCtx(t testing.TB) context.Context {
	c, cancel := context.WithTimeout(context.Background(), redistest.Patience)
	t.Cleanup(cancel)
	return c
}

func newStore(t testing.TB, rdb redis.UniversalClient, partitions int) *eventstore.Store[paid] {
	t.Helper()
	s, err := eventstore.New(rdb, eventstore.Config[paid]{Name: "s" + strconv.FormatInt(time.Now().UnixNano(), 36),
		Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// apply keeps the sum and the number of payments of each aggregate, a list of them, and the running
// sum, which needs a read.
func apply(ctx context.Context, tx *view.Tx, e eventstore.Event[paid]) error {
	before, err := tx.HGetInt(ctx, "running", e.Aggregate)
	if err != nil {
		return err
	}
	tx.HIncrBy("sum", e.Aggregate, e.Value.Amount)
	tx.HIncrBy("count", e.Aggregate, 1)
	tx.HSet("running", e.Aggregate, fmt.Sprint(before+e.Value.Amount))
	tx.RPush("list:"+e.Aggregate, e.ID.String(), 0)
	tx.ZAdd("latest", e.Aggregate, float64(e.Value.Amount))
	return nil
}

func newProjection(
	t testing.TB, rdb redis.UniversalClient, s *eventstore.Store[paid], change ...func(*Config[paid]),
) *Projection[paid] {
	t.Helper()
	cfg := Config[paid]{Name: "sums", Apply: apply, Poll: 10 * time.Millisecond, Lease: time.Second,
		Grace: 50 * time.Millisecond}
	for _, f := range change {
		f(&cfg)
	}
	p, err := New(rdb, s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// runs starts a projection, which is stopped at the end of the test.
func runs(t testing.TB, p *Projection[paid]) *flow.Running {
	t.Helper()
	r, err := p.Graph(flow.Log(slog.New(slog.DiscardHandler)), flow.AckTimeout(redistest.Patience),
		flow.Faults(flow.Retry(1, time.Millisecond, flow.NackAfter(time.Millisecond)))).Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Stop() })
	return r
}

// pay appends payments of 1, 2, … to an aggregate.
func pay(t testing.TB, s *eventstore.Store[paid], aggregate string, n int) {
	t.Helper()
	for i := range n {
		if _, err := s.Append(testCtx(t), aggregate, eventstore.Any, paid{Amount: int64(i + 1)}); err != nil {
			t.Error(err)
			return
		}
	}
}

// settled waits until the live build has all events.
func settled(t testing.TB, p *Projection[paid]) {
	t.Helper()
	redistest.Soon(t, "the live build has all events", func() bool {
		now, err := p.Progress(testCtx(t))
		if err != nil {
			t.Fatal(err)
		}
		return now.Live.Build != "" && now.Live.Behind == 0
	})
}

// right compares a build with plain loops over the events.
func right(t testing.TB, rdb redis.UniversalClient, s *eventstore.Store[paid], keys view.Keys, aggregates ...string) {
	t.Helper()
	ctx := testCtx(t)
	for _, a := range aggregates {
		sum, ids := int64(0), []string(nil)
		for e, err := range s.Events(ctx, a, 0) {
			if err != nil {
				t.Fatal(err)
			}
			sum, ids = sum+e.Value.Amount, append(ids, e.ID.String())
		}
		part := s.Partition(a)
		want := map[string]string{"sum": fmt.Sprint(sum), "running": fmt.Sprint(sum), "count": fmt.Sprint(len(ids)),
			"list": fmt.Sprint(ids)}
		got := map[string]string{"list": fmt.Sprint(rdb.LRange(ctx, keys.Key(part, "list:"+a), 0, -1).Val())}
		for _, name := range []string{"sum", "running", "count"} {
			got[name] = rdb.HGet(ctx, keys.Key(part, name), a).Val()
		}
		if !maps.Equal(got, want) {
			t.Errorf("build %s of %s\ngot  %v\nwant %v", keys.Build, a, got, want)
		}
	}
}

func live(t testing.TB, p *Projection[paid]) view.Keys {
	t.Helper()
	k, err := p.Live(testCtx(t))
	if err != nil {
		t.Fatal(err)
	}
	return k
}
