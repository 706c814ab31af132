package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/jobs"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

func TestJob(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{})
	id := b.submit(t, "x", jobs.Priority("high"), jobs.Owner("ann"))
	j, err := b.Get(t.Context(), id)
	if err != nil || j.State != jobs.Queued || j.Priority != "high" || j.Owner != "ann" || j.Version < 1 {
		t.Fatalf("submitted: %+v, %v", j, err)
	}
	b.work(t, echo)
	got, err := b.another(t).Wait(t.Context(), id) // another process
	if err != nil || got != "did x" {
		t.Errorf("result %q, %v", got, err)
	}
	j, err = b.Get(t.Context(), id)
	if err != nil || j.State != jobs.Done || j.Attempt != 1 || j.Fraction() != 1 || string(j.Result) != `"did x"` ||
		j.Started.IsZero() || j.Ended.Before(j.Started) {
		t.Errorf("done: %+v, %v", j, err)
	}
	redistest.Soon(t, "its entry is gone, apart from one per reader", func() bool {
		return b.rdb.XLen(t.Context(), "{"+b.name+"}:jobs:high").Val() <= 1
	})
	list, err := b.Recent(t.Context(), 10)
	if err != nil || len(list) != 1 || list[0].ID != id {
		t.Errorf("recent: %+v, %v", list, err)
	}
}

func TestJobsExpire(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{Keep: 30 * time.Millisecond})
	b.work(t, echo)
	id := b.submit(t, "x", jobs.Key("k"))
	redistest.Soon(t, "it has expired", func() bool {
		_, err := b.Get(t.Context(), id)
		return errors.Is(err, jobs.ErrExpired)
	})
	if err := b.Cancel(t.Context(), id); !errors.Is(err, jobs.ErrUnknown) {
		t.Errorf("cancel: %v", err)
	}
	if _, err := b.Wait(t.Context(), "nonsense"); !errors.Is(err, jobs.ErrUnknown) || errors.Is(err, jobs.ErrExpired) {
		t.Errorf("wait for an unknown job: %v", err)
	}
	for _, key := range b.rdb.Keys(t.Context(), "{"+b.name+"}:*").Val() {
		if left := b.rdb.PTTL(t.Context(), key).Val(); left == -1 && !strings.Contains(key, ":jobs:") { // -2: gone
			t.Errorf("%s never expires", key)
		}
	}
}

func TestJobsUnique(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{})
	first := b.submit(t, "x", jobs.Key("k"))
	id, created, err := b.Submit(t.Context(), "y", jobs.Key("k"))
	if id != first || created || err != nil {
		t.Errorf("while it waits: %s, %v, %v, want %s", id, created, err, first)
	}
	b.submit(t, "z", jobs.Key("other"))
	b.work(t, echo)
	if got, err := b.Wait(t.Context(), first); got != "did x" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	again := b.submit(t, "x", jobs.Key("k"), jobs.ID("mine"))
	if _, err := b.Wait(t.Context(), again); err != nil {
		t.Error(err)
	}
	if id, created, err := b.Submit(t.Context(), "x", jobs.ID("mine")); id != "mine" || created || err != nil {
		t.Errorf("the same ID after the end: %s, %v, %v", id, created, err)
	}
}

func TestJobRetries(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{})
	watched, hold := make(chan struct{}), make(chan struct{})
	b.work(t, func(ctx context.Context, t task) (string, error) {
		select {
		case <-watched: // a watcher that begins later misses the first states
		case <-ctx.Done():
		}
		if t.Attempt < 3 {
			return "", flow.RetryAfter(20*time.Millisecond, fmt.Errorf("not at attempt %d", t.Attempt))
		}
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return "at last", nil
	})
	id := b.submit(t, "x")
	watching := sync.OnceFunc(func() { close(watched) })
	j := b.until(t, id, func(j jobs.Job) bool { watching(); return j.State == jobs.Retrying })
	if f := j.Failure; f == nil || f.Stage != "work" || !strings.Contains(f.Error, "not at attempt") ||
		f.Retry.IsZero() {
		t.Errorf("retrying: %+v %+v", j, f)
	}
	j = b.until(t, id, func(j jobs.Job) bool { return j.State == jobs.Running && j.Attempt == 3 })
	if j.Failure == nil {
		t.Errorf("attempt 3 does not tell of attempt 2: %+v", j)
	}
	close(hold)
	if got, err := b.Wait(t.Context(), id); got != "at last" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if j, _ := b.Get(t.Context(), id); j.Failure != nil || j.Attempt != 3 {
		t.Errorf("done: %+v", j)
	}
}

// A retry in place is visible too.
func TestJobRetriesInPlace(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{})
	var ready sync.Map
	work := operators.Map(b.Source(), func(_ context.Context, t task) (struct{}, error) {
		if _, ok := ready.Load(t.ID); !ok {
			return struct{}{}, errors.New("not yet")
		}
		return struct{}{}, nil
	}, flow.Name("press"), flow.OnFault(flow.RetryEvery(1e6, 50*time.Millisecond, nil)))
	rig.Start(t, flow.New("g", flow.To(work, sink.Discard[struct{}]())))
	id := b.submit(t, "x")
	j := b.until(t, id, func(j jobs.Job) bool { return j.Failure != nil && !j.Failure.Retry.IsZero() })
	if j.State != jobs.Running || j.Failure.Stage != "press" || j.Failure.Tries < 1 {
		t.Errorf("%+v %+v", j, j.Failure)
	}
	ready.Store(id, true)
	b.until(t, id, in(jobs.Done))
}

func TestJobFails(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{MaxAttempts: 2, MaxResult: 100})
	b.work(t, func(_ context.Context, t task) (string, error) {
		switch t.Value {
		case "reject":
			return "", flow.Reject(errors.New("never"))
		case "large":
			return strings.Repeat("x", 100), nil
		case "skip":
			return "", flow.Skip
		}
		return "", flow.RetryAfter(0, errors.New("again"))
	})
	for v, want := range map[string]string{"reject": "rejected: never",
		"large": "jobs: result has 102 bytes, more than 100",
		"retry": "retry after 0s: again", "skip": ""} {
		id := b.submit(t, v)
		_, err := b.Wait(t.Context(), id)
		var failed *jobs.FailedError
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", v, err)
		case want == "":
		case !errors.As(err, &failed) || failed.Job.State != jobs.Failed || failed.Job.Failure.Error != want:
			t.Errorf("%s: %v", v, err)
		case v == "retry" && failed.Job.Attempt != 2:
			t.Errorf("attempts: %+v", failed.Job)
		}
	}
	redistest.Soon(t, "dead letters", func() bool {
		return b.rdb.XLen(t.Context(), "{"+b.name+"}:jobs:normal:dead").Val() == 2
	})
}

// Fan-outs have progress without code.
func TestJobProgress(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{})
	step := make(chan struct{})
	parts := operators.FlatMap(b.Source(), func(_ context.Context, t task, emit func(task)) error {
		for range 4 {
			emit(t)
		}
		return nil
	})
	outs := operators.FanOut(parts, 2)
	work := operators.Map(outs[0], func(ctx context.Context, t task) (struct{}, error) {
		select {
		case <-step:
		case <-ctx.Done():
		}
		t.Progress(7, 10, "shrinking")
		t.Update(func(s *string) { *s += "x" })
		return struct{}{}, nil
	}, flow.Name("shrink"), flow.Async())
	rig.Start(t, flow.New("g", flow.To(work, sink.Discard[struct{}]()), flow.To(outs[1], sink.Discard[task]())))
	id := b.submit(t, "x")
	step <- struct{}{}
	step <- struct{}{}
	j := b.until(t, id, func(j jobs.Job) bool {
		return j.Progress.Settled >= 5 && len(j.Progress.Stages) == 1 && j.Progress.Done == 7
	})
	want := jobs.Progress{Leaves: 8, Settled: 6, Stages: []string{"shrink"}, Done: 7, Total: 10, Note: "shrinking"}
	if j.Progress.Settled == 5 { // the second one is about to be settled
		want.Settled = 5
	}
	if diff := cmp.Diff(want, j.Progress); diff != "" || j.Fraction() != 0.7 {
		t.Errorf("%v (-want +got):\n%s", j.Fraction(), diff)
	}
	close(step)
	if got, err := b.Wait(t.Context(), id); got != "xxxx" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if j, _ := b.Get(t.Context(), id); j.Progress.Settled != 8 || j.Progress.Leaves != 8 {
		t.Errorf("at the end: %+v", j.Progress)
	}
}

func TestJobPriorities(t *testing.T) {
	t.Parallel()
	b := newBoard(
		t,
		jobs.Config{Running: 1, Priorities: []jobs.Weighted{{Name: "high", Weight: 4}, {Name: "low", Weight: 1}}},
	)
	var mu sync.Mutex
	var order []string
	ids := []string{}
	for i := range 20 {
		ids = append(ids, b.submit(t, fmt.Sprint("l", i), jobs.Priority("low")))
	}
	for i := range 20 {
		ids = append(ids, b.submit(t, fmt.Sprint("h", i), jobs.Priority("high")))
	}
	var worker atomic.Pointer[flow.Running]
	begun := map[string]uint64{"high": 0, "low": 0}
	read := func() bool { // whether the next job of each priority has been read, if there is one
		over, cancel := context.WithCancel(context.Background())
		cancel() // Snapshot need not ask Redis
		run := worker.Load()
		if run == nil {
			return false
		}
		found := make(map[string]bool)
		for _, e := range run.Snapshot(over).Edges {
			if n, is := begun[e.From]; is {
				if found[e.From] = true; e.Messages < min(20, n+1) {
					return false
				}
			}
		}
		return len(found) == len(begun)
	}
	worker.Store(rig.Start(t, b.Work(func(ctx context.Context, t task) (string, error) {
		mu.Lock()
		order = append(order, t.Value[:1])
		mu.Unlock()
		begun[t.Priority]++
		for !read() {
			if err := flow.Sleep(ctx, time.Millisecond); err != nil {
				return "", err
			}
		}
		return "", nil
	})))
	for _, id := range ids {
		if _, err := b.Wait(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	all := strings.Join(order, "")
	if n := strings.Count(all[:22], "h"); n < 13 { // 18 if no read is late
		t.Errorf("%d of the first 22 are high: %s", n, all)
	}
	// Bounded starvation: while both wait, a low one comes after four high ones.
	if i := slices.Index(order, "l"); i > 8 {
		t.Errorf("the first low one is number %d: %s", i, all)
	}
}

func TestJobsLater(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{})
	b.work(t, echo)
	soon := b.submit(t, "soon", jobs.In(30*time.Millisecond))
	later := b.submit(t, "later", jobs.At(time.Now().Add(time.Hour)), jobs.Key("k"))
	if j, err := b.Get(t.Context(), later); err != nil || j.State != jobs.Scheduled ||
		time.Until(j.Due) < 59*time.Minute {
		t.Errorf("scheduled: %+v, %v", j, err)
	}
	if got, err := b.Wait(t.Context(), soon); got != "did soon" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := b.Cancel(t.Context(), later); err != nil {
		t.Error(err)
	}
	if n := b.rdb.ZCard(t.Context(), "{"+b.name+"}:jobs:normal:later").Val(); n != 0 {
		t.Errorf("%d are still scheduled", n)
	}
	b.submit(t, "again", jobs.Key("k"))
}

// Messages that are delivered twice are one job.
func TestJobsFromGraph(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{})
	out := b.Sink(func(string) []jobs.SubmitOption { return []jobs.SubmitOption{jobs.Priority("low")} })
	key := redistest.Key(t)
	b.rdb.XAdd(t.Context(), redistest.Entry(key, "data", "x"))
	for _, group := range []string{"a", "b"} { // two deliveries of the same entry
		src := source.Stream(b.rdb, source.StreamConfig[string]{Key: key, Group: group}, flow.Name("in"))
		rig.Start(t, flow.New("g", flow.To(src, out)))
	}
	redistest.Soon(t, "both have submitted it", func() bool {
		for _, g := range b.rdb.XInfoGroups(t.Context(), key).Val() {
			if g.Pending != 0 || g.Lag != 0 {
				return false
			}
		}
		return true
	})
	if list, err := b.Recent(t.Context(), 10); err != nil || len(list) != 1 || list[0].Priority != "low" {
		t.Errorf("%+v, %v", list, err)
	}
}

// Entries of other programs are jobs too, and those that cannot be decoded fail.
func TestJobsOfOthers(t *testing.T) {
	t.Parallel()
	rdb := redistest.Shared(t).Client(t)
	q := jobs.New[int, int](rdb, redistest.Key(t), jobs.Config{})
	t.Cleanup(func() {
		if err := q.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	rig.Start(t, q.Work(func(_ context.Context, t jobs.Task[int, int]) (int, error) { return 2 * t.Value, nil }))
	key := "{" + q.Name() + "}:jobs:normal"
	good := rdb.XAdd(t.Context(), redistest.Entry(key, "data", "21", "id", "foreign")).Val()
	bad := rdb.XAdd(t.Context(), redistest.Entry(key, "data", "many")).Val()
	var failed *jobs.FailedError
	redistest.Soon(t, "both are known", func() bool {
		_, err := q.Get(t.Context(), "foreign")
		_, err2 := q.Get(t.Context(), "normal."+bad)
		return errors.Join(err, err2) == nil
	})
	if got, err := q.Wait(t.Context(), "foreign"); got != 42 || err != nil || good == "" {
		t.Errorf("%d, %v", got, err)
	}
	if _, err := q.Wait(t.Context(), "normal."+bad); !errors.As(err, &failed) || failed.Job.State != jobs.Failed {
		t.Errorf("%v", err)
	}
}

func TestJobsBounds(t *testing.T) {
	t.Parallel()
	b := newBoard(t, jobs.Config{MaxQueued: 3, MaxPayload: 100})
	var large *jobs.TooLargeError
	if _, _, err := b.Submit(t.Context(), strings.Repeat("x", 101)); !errors.As(err, &large) ||
		large.What != "payload" {
		t.Errorf("large: %v", err)
	}
	if _, _, err := b.Submit(t.Context(), "x", jobs.Priority("urgent")); !errors.Is(err, jobs.ErrPriority) {
		t.Errorf("priority: %v", err)
	}
	if _, _, err := b.Submit(t.Context(), "x", jobs.ID("a b")); !errors.Is(err, jobs.ErrID) {
		t.Errorf("ID: %v", err)
	}
	for range 3 {
		b.submit(t, "x")
	}
	if _, _, err := b.Submit(t.Context(), "x"); !errors.Is(err, jobs.ErrFull) {
		t.Errorf("full: %v", err)
	}
	b.submit(t, "x", jobs.Priority("high"))
	bad := jobs.New[int, int](
		nil,
		"a{b}",
		jobs.Config{Priorities: []jobs.Weighted{{Name: "a b"}}, Default: "c", Running: -1,
			Report: -1, MaxResult: -1, Lease: -1},
	)
	if n := len(rig.Flat(bad.Validate())); n < 7 {
		t.Errorf("%d mistakes: %v", n, bad.Validate())
	}
	if _, _, err := bad.Submit(t.Context(), 1); err == nil {
		t.Error("it submits")
	}
	work := func(context.Context, jobs.Task[int, int]) (int, error) { return 0, nil }
	if err := bad.Work(work).Validate(); err == nil {
		t.Error("it works")
	}
	if err := bad.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
