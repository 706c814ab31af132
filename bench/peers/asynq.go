package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hibiken/asynq"

	"github.com/streamerson/streamerson-go/bench"
)

// asynq has queues of its own instead of streams. It deletes a task after it was handled.

func asynqOf(c bench.Case) []bench.Implementation {
	i := bench.Implementation{Name: "asynq", Slow: 20, Setup: asynqEmpty, Check: asynqCheck}
	switch c.Name {
	case "produce":
		i.About, i.Run, i.Check = "asynq: 64 goroutines enqueue tasks", asynqFill, asynqCheckQueue
	case "consume":
		i.About = "asynq: a Server with ten workers, as its documentation has"
		i.Setup = func(ctx context.Context, t *bench.Trial) error {
			return errors.Join(asynqEmpty(ctx, t), asynqFill(ctx, t))
		}
		i.Run = func(ctx context.Context, t *bench.Trial) error {
			return asynqServe(ctx, t, t.Got.AddPayload)
		}
	case "latency":
		i.About = "asynq: a Server with ten workers; it polls an empty queue once a second"
		i.Slow, i.Run, i.Check = 1, asynqLatency, func(ctx context.Context, t *bench.Trial) error {
			if len(t.Latencies) != t.N {
				return fmt.Errorf("%d tasks arrived, want %d", len(t.Latencies), t.N)
			}
			return asynqDone(t)
		}
	default:
		return nil
	}
	return []bench.Implementation{i}
}

// asynqEmpty deletes the trial's queue.
func asynqEmpty(_ context.Context, t *bench.Trial) error {
	err := asynq.NewInspectorFromRedisClient(t.Redis).DeleteQueue(t.In, true)
	if errors.Is(err, asynq.ErrQueueNotFound) {
		return nil
	}
	return err
}

func asynqFill(ctx context.Context, t *bench.Trial) error {
	client := asynq.NewClientFromRedisClient(t.Redis)
	return share(ctx, t.N, 64, func(ctx context.Context, i int) error {
		_, err := client.EnqueueContext(ctx, asynq.NewTask("payload", t.PayloadAt(i)), asynq.Queue(t.In))
		return err
	})
}

// asynqServe handles all tasks of the trial.
func asynqServe(ctx context.Context, t *bench.Trial, each func([]byte)) error {
	srv := asynq.NewServerFromRedisClient(t.Redis, asynq.Config{
		Concurrency: 10, Queues: map[string]int{t.In: 1}, LogLevel: asynq.FatalLevel,
		BaseContext: func() context.Context { return ctx },
	})
	handled, all := counted(t.N)
	var mu sync.Mutex
	err := srv.Start(asynq.HandlerFunc(func(_ context.Context, task *asynq.Task) error {
		defer handled()
		mu.Lock()
		defer mu.Unlock()
		each(task.Payload())
		return nil
	}))
	if err != nil {
		return err
	}
	defer srv.Shutdown()
	select {
	case <-all:
		t.Stop()
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func asynqLatency(ctx context.Context, t *bench.Trial) error {
	client := asynq.NewClientFromRedisClient(t.Redis)
	return t.Ticking(ctx, func(ctx context.Context, payload []byte) error {
		_, err := client.EnqueueContext(ctx, asynq.NewTask("payload", payload), asynq.Queue(t.In))
		return err
	}, func(ctx context.Context) error { return asynqServe(ctx, t, t.Arrived) })
}

func asynqCheck(_ context.Context, t *bench.Trial) error {
	return errors.Join(t.CheckPayloads(t.Got), asynqDone(t))
}

// asynqDone checks that no task is left, and deletes the queue.
func asynqDone(t *bench.Trial) error {
	q, err := asynq.NewInspectorFromRedisClient(t.Redis).GetQueueInfo(t.In)
	if err != nil {
		return err
	}
	if q.Size != 0 || q.Failed != 0 {
		return fmt.Errorf("the queue has %d tasks, and %d failed", q.Size, q.Failed)
	}
	return asynqEmpty(context.Background(), t)
}

// asynqCheckQueue checks the tasks in the queue, and deletes them.
func asynqCheckQueue(ctx context.Context, t *bench.Trial) error {
	const most = 1000
	in := asynq.NewInspectorFromRedisClient(t.Redis)
	var got bench.Tally
	for page := 1; ; page++ {
		tasks, err := in.ListPendingTasks(t.In, asynq.PageSize(most), asynq.Page(page))
		if err != nil {
			return err
		}
		for _, task := range tasks {
			got.AddPayload(task.Payload)
		}
		if len(tasks) < most {
			break
		}
	}
	return errors.Join(t.CheckPayloads(got), asynqEmpty(ctx, t))
}
