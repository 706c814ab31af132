package bench

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

func consume() Case {
	return Case{
		Name: "consume", About: "read n entries in a consumer group and acknowledge each",
		Reference: "limit", N: 400_000, Redis: true,
		Setup: func(ctx context.Context, t *Trial) error { return fill(ctx, t, payloadsOf(t.Payload).at) },
		Check: func(ctx context.Context, t *Trial) error {
			return errors.Join(
				t.CheckPayloads(t.Got),
				drained(ctx, t),
			)
		},
		Implementations: []Implementation{
			{Name: "default", Ours: true, About: "source.Stream and a sink that sums the payloads", Run: consumeGraph},
			{
				Name:  "limit",
				About: "RESP by hand: the next XREADGROUP COUNT 1000 is sent before a batch is read, an XACK per batch",
				Run:   consumeLimit,
			},
			{
				Name:  "goredis-readahead",
				About: "go-redis by hand: XREADGROUP COUNT 1000, reading ahead while one XACK per batch is sent",
				Run:   readLoop,
			},
			{Name: "goredis-one-by-one", About: "go-redis, COUNT 1, one XACK per entry", Slow: 40, Run: readOneByOne},
		},
	}
}

// readLoop is the fastest loop with go-redis' typed commands.
func readLoop(ctx context.Context, t *Trial) error {
	acks := make(chan []string, 2)
	return all(ctx, func(ctx context.Context) error {
		defer close(acks)
		return readBatches(ctx, t, 1000, func(batch []redis.XMessage) error {
			ids := make([]string, len(batch))
			for i, m := range batch {
				t.Got.addString(m.Values[Field].(string))
				ids[i] = m.ID
			}
			select {
			case acks <- ids:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	}, func(ctx context.Context) error {
		for ids := range acks {
			if err := t.Redis.XAck(ctx, t.In, t.Group, ids...).Err(); err != nil {
				return err
			}
		}
		return nil
	})
}

func readOneByOne(ctx context.Context, t *Trial) error {
	return readBatches(ctx, t, 1, func(batch []redis.XMessage) error {
		t.Got.addString(batch[0].Values[Field].(string))
		return t.Redis.XAck(ctx, t.In, t.Group, batch[0].ID).Err()
	})
}

// readBatches reads t.N entries of t.In.
func readBatches(ctx context.Context, t *Trial, count int64, each func([]redis.XMessage) error) error {
	for n := 0; n < t.N; {
		streams, err := t.Redis.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: t.Group, Consumer: "by-hand", Streams: []string{t.In, ">"}, Count: count, Block: time.Second,
		}).Result()
		switch {
		case errors.Is(err, redis.Nil) && ctx.Err() == nil:
			continue
		case err != nil:
			return err
		}
		for _, s := range streams {
			n += len(s.Messages)
			if err := each(s.Messages); err != nil {
				return err
			}
		}
	}
	return nil
}
