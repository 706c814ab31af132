package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/source"
)

// perSecond is the message rate of the latency case. It is low enough that everything is idle
// between two messages.
const perSecond = 1000

func latency() Case {
	return Case{
		Name: "latency",
		About: "time from before XADD to the handler, 1000 messages a second, each acknowledged; ratios are of p50, " +
			"less is better",
		Reference: "limit", N: 3000, Redis: true,
		Setup: func(ctx context.Context, t *Trial) error {
			if err := t.Redis.Unlink(ctx, t.In).Err(); err != nil {
				return err
			}
			return t.Redis.XGroupCreateMkStream(ctx, t.In, t.Group, "0").Err()
		},
		Check: func(ctx context.Context, t *Trial) error {
			if len(t.Latencies) != t.N {
				return fmt.Errorf("%d messages arrived, want %d", len(t.Latencies), t.N)
			}
			return drained(ctx, t)
		},
		Implementations: []Implementation{
			{Name: "default", Ours: true, About: "source.Stream and a sink function", Run: latencyGraph},
			{
				Name:  "limit",
				About: "RESP by hand: XREADGROUP BLOCK, then XACK and the next read in one write",
				Run:   latencyBare,
			},
			{Name: "goredis-blocking-read", About: "go-redis by hand: XREADGROUP BLOCK, then XACK", Run: latencyLoop},
		},
	}
}

// Ticking writes perSecond payloads a second with the current time in each, while read receives
// them. A nil write appends entries to t.In.
func (t *Trial) Ticking(
	ctx context.Context, write func(context.Context, []byte) error, read func(context.Context) error,
) error {
	if write == nil {
		write = func(ctx context.Context, payload []byte) error {
			return t.Redis.XAdd(ctx, &redis.XAddArgs{Stream: t.In, Values: []any{Field, payload}}).Err()
		}
	}
	return all(ctx, read, func(ctx context.Context) error {
		every := time.NewTicker(time.Second / perSecond)
		defer every.Stop()
		payload := make([]byte, max(8, t.Payload))
		for range t.N {
			select {
			case <-every.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			binary.LittleEndian.PutUint64(payload, uint64(time.Since(epoch)))
			if err := write(ctx, payload); err != nil {
				return err
			}
		}
		return nil
	})
}

// epoch is the zero of all times; it has a monotonic clock reading.
var epoch = time.Now()

// Arrived records the latency of a payload of Ticking.
func (t *Trial) Arrived(payload []byte) {
	if len(payload) >= 8 {
		t.Latencies = append(t.Latencies, time.Since(epoch)-time.Duration(binary.LittleEndian.Uint64(payload)))
	}
}

func latencyGraph(ctx context.Context, t *Trial) error {
	return t.Ticking(ctx, nil, func(ctx context.Context) error {
		src := source.Stream(t.Redis, source.StreamConfig[[]byte]{Key: t.In, Group: t.Group})
		return runSettled(ctx, t, flow.To(src, flow.NewSink("note", func() flow.Writer[[]byte] {
			return flow.WriterFunc[[]byte](func(_ context.Context, chunk []flow.Message[[]byte]) error {
				for i := range chunk {
					t.Arrived(chunk[i].Value)
				}
				return nil
			})
		})))
	})
}

func latencyBare(ctx context.Context, t *Trial) error {
	return t.Ticking(ctx, nil, func(ctx context.Context) error {
		return latencyLimit(ctx, t)
	})
}

func latencyLoop(ctx context.Context, t *Trial) error {
	return t.Ticking(ctx, nil, func(ctx context.Context) error {
		return readBatches(ctx, t, 256, func(batch []redis.XMessage) error {
			ids := make([]string, len(batch))
			for i, m := range batch {
				payload, ok := m.Values[Field].(string)
				if !ok {
					return errors.New("an entry has no payload")
				}
				t.Arrived([]byte(payload))
				ids[i] = m.ID
			}
			return t.Redis.XAck(ctx, t.In, t.Group, ids...).Err()
		})
	})
}
