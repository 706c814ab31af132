package bench

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
)

// order is the JSON value that the transform case reads and writes.
type order struct {
	ID       int    `json:"id"`
	Customer string `json:"customer"`
	Cents    int    `json:"cents"`
	Note     string `json:"note"`
}

// priced returns the result for an order: the customer in capitals, the price doubled.
func priced(o order) order {
	o.Customer = strings.ToUpper(o.Customer)
	o.Cents *= 2
	return o
}

func orderAt(i, size int) order {
	o := order{ID: i % ring, Customer: "ada", Cents: i%ring + 7}
	o.Note = strings.Repeat("x", max(0, size-len(encoded(o))))
	return o
}

// orders returns encoded orders of a size.
func orders(size int) func(i int) []byte {
	each := make([][]byte, ring)
	for i := range each {
		each[i] = encoded(orderAt(i, size))
	}
	return func(i int) []byte { return each[i%ring] }
}

func (y *Tally) addOrder(o order) { y.add(len(o.Note)+len(o.Customer), uint64(o.ID+3*o.Cents)) }

func transform() Case {
	return Case{
		Name: "transform", About: "read JSON in a group, map it, write JSON to another stream, acknowledge",
		Reference: "limit", N: 150_000, Redis: true,
		Setup: func(ctx context.Context, t *Trial) error {
			if err := fill(ctx, t, orders(t.Payload)); err != nil {
				return err
			}
			return t.Redis.Unlink(ctx, t.Out).Err()
		},
		Check: func(ctx context.Context, t *Trial) error {
			var bad error
			got, err := tallyStream(ctx, t.Redis, t.Out, func(y *Tally, data string) {
				var o order
				if err := json.Unmarshal([]byte(data), &o); err != nil {
					bad = errors.Join(bad, err)
				} else if o.Customer != "ADA" {
					bad = errors.New("an output was not mapped")
				}
				y.addOrder(o)
			})
			if err := errors.Join(err, bad); err != nil {
				return err
			}
			var want Tally
			for i := range t.N {
				want.addOrder(priced(orderAt(i, t.Payload)))
			}
			return errors.Join(compare("the output", got, want), drained(ctx, t))
		},
		Implementations: []Implementation{
			{
				Name: "default", Ours: true,
				About: "source.Stream, operators.Map, sink.Stream as they are: ordered",
				Run:   transformGraph(sink.StreamConfig[order]{}),
			},
			{
				Name: "two-pipelines", Ours: true,
				About: "the same with two pipelines, unordered",
				Run:   transformGraph(sink.StreamConfig[order]{Tuning: writer.Tuning{Pipelines: 2}}),
			},
			{
				Name: "bytes", Ours: true,
				About: "source and sink of bytes, all JSON work in operators.Map with two workers; two pipelines",
				Run:   transformBytes,
			},
			{
				Name:  "limit",
				About: "RESP by hand with encoding/json: reads ahead, the XADDs and the XACK of a batch in one write",
				Run:   transformLimit,
			},
			{
				Name:  "goredis-tuned",
				About: "go-redis by hand: COUNT 512, two workers, the XADDs and the XACK of a batch in one pipeline",
				Run:   transformLoop,
			},
			{
				Name: "goredis-one-by-one", Slow: 20,
				About: "go-redis, COUNT 1, one XADD and one XACK per entry",
				Run:   transformOneByOne,
			},
		},
	}
}

// transformLoop is the fastest loop with go-redis' typed commands. It reads the next batch while
// two others are processed.
func transformLoop(ctx context.Context, t *Trial) error {
	batches := make(chan []redis.XMessage, 1)
	worker := func(ctx context.Context) error {
		for batch := range batches {
			pipe := t.Redis.Pipeline()
			ids := make([]string, len(batch))
			for i, m := range batch {
				out, err := transformed(m)
				if err != nil {
					return err
				}
				pipe.XAdd(ctx, &redis.XAddArgs{Stream: t.Out, Values: []any{Field, out}})
				ids[i] = m.ID
			}
			pipe.XAck(ctx, t.In, t.Group, ids...)
			if _, err := pipe.Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	return all(ctx, worker, worker, func(ctx context.Context) error {
		defer close(batches)
		return readBatches(ctx, t, 512, func(batch []redis.XMessage) error {
			select {
			case batches <- batch:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	})
}

func transformed(m redis.XMessage) ([]byte, error) { return Price([]byte(m.Values[Field].(string))) }

func transformOneByOne(ctx context.Context, t *Trial) error {
	return readBatches(ctx, t, 1, func(batch []redis.XMessage) error {
		out, err := transformed(batch[0])
		if err != nil {
			return err
		}
		if err := t.Redis.XAdd(ctx, &redis.XAddArgs{Stream: t.Out, Values: []any{Field, out}}).Err(); err != nil {
			return err
		}
		return t.Redis.XAck(ctx, t.In, t.Group, batch[0].ID).Err()
	})
}
