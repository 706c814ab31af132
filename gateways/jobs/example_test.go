package jobs_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/jobs"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
	"github.com/streamerson/streamerson-go/source/cron"
)

// A job is submitted, worked on, and waited for. Each of these may be in another process.
func ExampleQueue() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	rdb, _, done, err := embedded.Open(ctx, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done()
	q := jobs.New[string, int](rdb, "counts", jobs.Config{})
	worker, err := q.Work(func(_ context.Context, t jobs.Task[string, int]) (int, error) {
		return len(strings.Fields(t.Value)), nil
	}).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	id, created, err := q.Submit(ctx, "to be or not to be", jobs.Priority("high"), jobs.Key("hamlet"))
	fmt.Println("created:", created, err)
	words, err := q.Wait(ctx, id)
	fmt.Println("words:", words, err)
	j, err := q.Get(ctx, id)
	fmt.Println(j.State, "attempt", j.Attempt, err)
	fmt.Println("cancel:", strings.ReplaceAll(q.Cancel(ctx, id).Error(), id, "ID"))
	cancel()
	fmt.Println(worker.Wait(), q.Close(context.Background()))
	// Output:
	// created: true <nil>
	// words: 6 <nil>
	// done attempt 1 <nil>
	// cancel: jobs: job ID has ended before: it is done
	// <nil> <nil>
}

// Jobs for later, and a Submit that may be repeated.
func ExampleQueue_Submit() {
	ctx := context.Background()
	rdb, _, done, err := embedded.Open(ctx, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done()
	q := jobs.New[string, int](rdb, "mails", jobs.Config{})
	defer q.Close(ctx)
	for range 2 {
		id, created, err := q.Submit(ctx, "welcome ann", jobs.ID("welcome-ann"), jobs.In(time.Hour))
		fmt.Println(id, created, err)
	}
	tomorrow := time.Now().AddDate(0, 0, 1)
	id, _, err := q.Submit(ctx, "remind ann", jobs.At(tomorrow), jobs.Owner("ann"))
	if err != nil {
		fmt.Println(err)
		return
	}
	j, err := q.Get(ctx, id)
	fmt.Println(j.State, j.Owner, err)
	fmt.Println(q.Cancel(ctx, id))
	// Output:
	// welcome-ann true <nil>
	// welcome-ann false <nil>
	// scheduled ann <nil>
	// <nil>
}

// A graph of your own: each job becomes many messages, so its progress is known without code.
func ExampleQueue_Source() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	rdb, _, done, err := embedded.Open(ctx, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done()
	type word struct {
		jobs.Task[string, int]
		text string
	}
	q := jobs.New[string, int](rdb, "letters", jobs.Config{})
	words := operators.FlatMap(q.Source(), func(_ context.Context, t jobs.Task[string, int], emit func(word)) error {
		for _, text := range strings.Fields(t.Value) {
			emit(word{t, text})
		}
		return nil
	})
	count := func(_ context.Context, w word) error {
		w.Update(func(letters *int) { *letters += len(w.text) })
		return nil
	}
	worker, err := flow.New("letters", flow.To(words, sink.Func(count))).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	id, _, err := q.Submit(ctx, "to be or not to be")
	if err != nil {
		fmt.Println(err)
		return
	}
	for j, err := range q.Watch(ctx, id) {
		if err != nil || j.State.Ended() {
			fmt.Println(j.State, string(j.Result), "leaves:", j.Progress.Settled, "of", j.Progress.Leaves, err)
		}
	}
	cancel()
	fmt.Println(worker.Wait(), q.Close(context.Background()))
	// Output:
	// done 13 leaves: 6 of 6 <nil>
	// <nil> <nil>
}

// The handler is mounted with and without an ID.
func ExampleQueue_HTTP() {
	ctx := context.Background()
	rdb, _, done, err := embedded.Open(ctx, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done()
	q := jobs.New[string, int](rdb, "reports", jobs.Config{})
	h := q.HTTP(jobs.HTTPConfig[string]{Authorize: func(r *http.Request, j jobs.Job) error {
		if user, _, _ := r.BasicAuth(); user != j.Owner {
			return fmt.Errorf("%s may not see the jobs of %s", user, j.Owner)
		}
		return nil
	}})
	mux := http.NewServeMux()
	mux.Handle("/jobs", h)
	mux.Handle("/jobs/{id}", h)
	fmt.Println(q.Priorities(), q.Close(ctx))
	// Output:
	// [high normal low] <nil>
}

// A recurring job: each tick is one job, in however many processes this graph runs. A report that
// takes longer than an hour is not started twice.
func ExampleQueue_Sink() {
	rdb, _, done, err := embedded.Open(context.Background(), "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done()
	q := jobs.New[string, int](rdb, "reports", jobs.Config{})
	ticks := cron.Source(rdb, "@hourly", source.TicksConfig{Key: "ticks", Group: "reports"})
	names := operators.Map(
		ticks,
		flow.Pure(func(t source.Tick) string { return "until " + t.Time.Format(time.DateTime) }),
	)
	hourly := q.Sink(func(string) []jobs.SubmitOption { return []jobs.SubmitOption{jobs.Key("hourly")} })
	fmt.Println(flow.New("hourly", flow.To(names, hourly)).Validate())
	// Output:
	// <nil>
}
