package bench

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
)

func produce() Case {
	return Case{
		Name: "produce", About: "write n entries of one field to a stream",
		Reference: "limit", N: 400_000, Redis: true,
		Setup: func(ctx context.Context, t *Trial) error {
			payloadsOf(t.Payload)
			return t.Redis.Unlink(ctx, t.Out).Err()
		},
		Check: func(ctx context.Context, t *Trial) error {
			n, err := t.Redis.XLen(ctx, t.Out).Result()
			if err != nil {
				return err
			}
			if n != int64(t.N) {
				return fmt.Errorf("the stream has %d entries, want %d", n, t.N)
			}
			got, err := tallyStream(ctx, t.Redis, t.Out, (*Tally).addString)
			if err != nil {
				return err
			}
			return t.CheckPayloads(got)
		},
		Implementations: []Implementation{
			{
				Name:  "default",
				Ours:  true,
				About: "sink.Stream as it is: ordered",
				Run:   produceGraph(sink.StreamConfig[[]byte]{}),
			},
			{
				Name:  "four-pipelines",
				Ours:  true,
				About: "sink.Stream with four pipelines, unordered",
				Run:   produceGraph(sink.StreamConfig[[]byte]{Tuning: writer.Tuning{Pipelines: 4}}),
			},
			{
				Name:  "limit",
				About: "RESP by hand: pipelines of 128 behind each other on one connection",
				Run:   produceLimit,
			},
			{
				Name:  "goredis-4x128",
				About: "go-redis by hand: four goroutines, pipelines of 128",
				Run: func(ctx context.Context, t *Trial) error {
					return writeLoop(ctx, t, t.Out, payloadsOf(t.Payload).at)
				},
			},
			{Name: "goredis-one-by-one", About: "go-redis, one XADD at a time", Slow: 20, Run: writeOneByOne},
		},
	}
}

const loopPipelines, loopDepth = 4, 128

// writeLoop is the fastest loop with go-redis' typed commands: several goroutines, each with one
// pipeline in flight.
func writeLoop(ctx context.Context, t *Trial, key string, payload func(i int) []byte) error {
	var next atomic.Int64
	return together(ctx, loopPipelines, func(ctx context.Context) error {
		pipe := t.Redis.Pipeline()
		for {
			from := int(next.Add(loopDepth)) - loopDepth
			if from >= t.N {
				return nil
			}
			for i := from; i < min(from+loopDepth, t.N); i++ {
				pipe.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: []any{Field, payload(i)}})
			}
			if _, err := pipe.Exec(ctx); err != nil { // the first error of any command
				return err
			}
		}
	})
}

func writeOneByOne(ctx context.Context, t *Trial) error {
	p := payloadsOf(t.Payload)
	for i := range t.N {
		if err := t.Redis.XAdd(ctx, &redis.XAddArgs{Stream: t.Out, Values: []any{Field, p.at(i)}}).Err(); err != nil {
			return err
		}
	}
	return nil
}

// together runs f on n goroutines. The first error cancels the context of the others.
func together(ctx context.Context, n int, f func(context.Context) error) error {
	tasks := make([]func(context.Context) error, n)
	for i := range tasks {
		tasks[i] = f
	}
	return all(ctx, tasks...)
}

// all runs each function on its own goroutine. The first error cancels the context of the others.
func all(ctx context.Context, tasks ...func(context.Context) error) error {
	g, running := errgroup.WithContext(ctx)
	for _, f := range tasks {
		g.Go(func() error { return f(running) })
	}
	return cmp.Or(g.Wait(), context.Cause(ctx))
}
