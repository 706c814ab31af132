package main

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"golang.org/x/sync/errgroup"

	"github.com/streamerson/streamerson-go/bench"
)

// The loops of go-redis by hand, with rueidis' typed commands and its defaults.

func rueidisOf(c bench.Case) []bench.Implementation {
	of := func(about string, run func(context.Context, *bench.Trial, rueidis.Client) error) []bench.Implementation {
		return []bench.Implementation{{Name: "rueidis", About: about, Run: func(
			ctx context.Context, t *bench.Trial) error {
			client, err := dial(t)
			if err != nil {
				return err
			}
			defer client.Close()
			return run(ctx, t, client)
		}}}
	}
	switch c.Name {
	case "produce":
		return of("rueidis by hand: four goroutines, DoMulti of 128", rueidisProduce)
	case "consume":
		return of(
			"rueidis by hand: XREADGROUP COUNT 1000, reading ahead while one XACK per batch is sent",
			rueidisConsume,
		)
	case "transform":
		return of("rueidis by hand: COUNT 512, two workers, the XADDs and the XACK of a batch in one DoMulti",
			rueidisTransform)
	case "latency":
		return of("rueidis by hand: XREADGROUP BLOCK, then XACK", rueidisLatency)
	}
	if isCalls(c) {
		return []bench.Implementation{{
			Name: "rueidis",
			About: "rueidis by hand: callers' XADDs share its automatic pipelines; one group reader that answers and acks " +
				"in one DoMulti, one reader of replies",
			Run: c.Asking(rueidisCalls),
		}}
	}
	return nil
}

func dial(t *bench.Trial) (rueidis.Client, error) {
	o := t.Redis.(*redis.Client).Options()
	return rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{o.Addr}, Username: o.Username, Password: o.Password, SelectDB: o.DB,
	})
}

func multi(ctx context.Context, client rueidis.Client, cmds rueidis.Commands) error {
	for _, r := range client.DoMulti(ctx, cmds...) {
		if err := r.Error(); err != nil {
			return err
		}
	}
	return nil
}

func add(client rueidis.Client, key, payload string) rueidis.Completed {
	return client.B().Xadd().Key(key).Id("*").FieldValue().FieldValue(bench.Field, payload).Build()
}

func ack(client rueidis.Client, t *bench.Trial, ids []string) rueidis.Completed {
	return client.B().Xack().Key(t.In).Group(t.Group).Id(ids...).Build()
}

func idsOf(batch []rueidis.XRangeEntry) []string {
	ids := make([]string, len(batch))
	for i := range batch {
		ids[i] = batch[i].ID
	}
	return ids
}

func rueidisProduce(ctx context.Context, t *bench.Trial, client rueidis.Client) error {
	const depth = 128
	return share(ctx, (t.N+depth-1)/depth, 4, func(ctx context.Context, batch int) error {
		from, to := batch*depth, min(batch*depth+depth, t.N)
		cmds := make(rueidis.Commands, 0, depth)
		for i := from; i < to; i++ {
			cmds = append(cmds, add(client, t.Out, rueidis.BinaryString(t.PayloadAt(i))))
		}
		return multi(ctx, client, cmds)
	})
}

// rueidisRead reads t.N entries of t.In.
func rueidisRead(
	ctx context.Context, t *bench.Trial, client rueidis.Client, count int64, each func([]rueidis.XRangeEntry) error,
) error {
	for n := 0; n < t.N; {
		batch, err := rueidisNext(ctx, t, client, count, time.Second)
		if err != nil {
			return err
		}
		n += len(batch)
		if len(batch) > 0 {
			if err := each(batch); err != nil {
				return err
			}
		}
	}
	return nil
}

func rueidisNext(
	ctx context.Context, t *bench.Trial, client rueidis.Client, count int64, block time.Duration,
) ([]rueidis.XRangeEntry, error) {
	streams, err := client.Do(ctx, client.B().Xreadgroup().Group(t.Group, "by-hand").Count(count).
		Block(block.Milliseconds()).Streams().Key(t.In).Id(">").Build()).AsXRead()
	if rueidis.IsRedisNil(err) {
		err = ctx.Err()
	}
	return streams[t.In], err
}

func rueidisConsume(ctx context.Context, t *bench.Trial, client rueidis.Client) error {
	acks := make(chan []string, 2)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(acks)
		return rueidisRead(ctx, t, client, 1000, func(batch []rueidis.XRangeEntry) error {
			for i := range batch {
				t.Got.AddPayload([]byte(batch[i].FieldValues[bench.Field]))
			}
			return send(ctx, acks, idsOf(batch))
		})
	})
	g.Go(func() error {
		for ids := range acks {
			if err := client.Do(ctx, ack(client, t, ids)).Error(); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

func rueidisTransform(ctx context.Context, t *bench.Trial, client rueidis.Client) error {
	batches := make(chan []rueidis.XRangeEntry, 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(batches)
		return rueidisRead(ctx, t, client, 512, func(batch []rueidis.XRangeEntry) error {
			return send(ctx, batches, batch)
		})
	})
	for range 2 {
		g.Go(func() error {
			for batch := range batches {
				cmds := make(rueidis.Commands, 0, len(batch)+1)
				for i := range batch {
					out, err := bench.Price([]byte(batch[i].FieldValues[bench.Field]))
					if err != nil {
						return err
					}
					cmds = append(cmds, add(client, t.Out, rueidis.BinaryString(out)))
				}
				if err := multi(ctx, client, append(cmds, ack(client, t, idsOf(batch)))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func rueidisLatency(ctx context.Context, t *bench.Trial, client rueidis.Client) error {
	return t.Ticking(ctx, nil, func(ctx context.Context) error {
		return rueidisRead(ctx, t, client, 256, func(batch []rueidis.XRangeEntry) error {
			for i := range batch {
				t.Arrived([]byte(batch[i].FieldValues[bench.Field]))
			}
			return client.Do(ctx, ack(client, t, idsOf(batch))).Error()
		})
	})
}

func send[T any](ctx context.Context, to chan<- T, v T) error {
	select {
	case to <- v:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// exchange is a client and a service by hand.
type exchange struct {
	t               *bench.Trial
	caller, service rueidis.Client
	next            atomic.Int64
	waiting         sync.Map // id → chan string
}

const (
	patience = 10 * time.Second
	pause    = 20 * time.Millisecond // blocks reads no longer, so that they notice the end
)

func rueidisCalls(ctx context.Context, t *bench.Trial) (bench.Service, error) {
	caller, err := dial(t)
	if err != nil {
		return bench.Service{}, err
	}
	service, err := dial(t)
	if err != nil {
		caller.Close()
		return bench.Service{}, err
	}
	e := &exchange{t: t, caller: caller, service: service}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	var g errgroup.Group
	g.Go(func() error { return e.serve(running) })
	g.Go(func() error { return e.receive(running) })
	return bench.Service{Call: e.call, End: func() error {
		stop()
		err := g.Wait()
		caller.Close()
		service.Close()
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		return err
	}}, nil
}

func (e *exchange) call(ctx context.Context, body []byte) ([]byte, error) {
	id := strconv.FormatInt(e.next.Add(1), 36)
	answer := make(chan string, 1)
	e.waiting.Store(id, answer)
	err := e.caller.Do(ctx, e.caller.B().Xadd().Key(e.t.In).Maxlen().Almost().Threshold("10000").Id("*").FieldValue().
		FieldValue(bench.Field, rueidis.BinaryString(body)).FieldValue("type", "price").FieldValue("id", id).
		FieldValue("reply", e.t.Out).Build()).Error()
	if err != nil {
		return nil, err
	}
	select {
	case v := <-answer:
		return []byte(v), nil
	case <-time.After(patience):
		return nil, context.DeadlineExceeded
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// serve answers the requests that it reads, and acknowledges them behind the answers.
func (e *exchange) serve(ctx context.Context) error {
	for ctx.Err() == nil {
		batch, err := rueidisNext(ctx, e.t, e.service, 512, pause)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			continue
		}
		cmds := make(rueidis.Commands, 0, len(batch)+1)
		for i := range batch {
			values := batch[i].FieldValues
			answer, err := bench.Price([]byte(values[bench.Field]))
			if err != nil {
				return err
			}
			cmds = append(cmds, e.service.B().Xadd().Key(values["reply"]).Maxlen().Almost().Threshold("16384").Id("*").
				FieldValue().
				FieldValue("id", values["id"]).FieldValue(bench.Field, rueidis.BinaryString(answer)).Build())
		}
		cmds = append(cmds, ack(e.service, e.t, idsOf(batch)))
		if err := multi(context.WithoutCancel(ctx), e.service, cmds); err != nil {
			return err
		}
	}
	return nil
}

// receive dispatches the replies to their callers.
func (e *exchange) receive(ctx context.Context) error {
	for last := "0"; ctx.Err() == nil; {
		streams, err := e.caller.Do(ctx, e.caller.B().Xread().Count(512).Block(pause.Milliseconds()).Streams().
			Key(e.t.Out).Id(last).Build()).AsXRead()
		if rueidis.IsRedisNil(err) {
			continue
		}
		if err != nil {
			return err
		}
		for _, m := range streams[e.t.Out] {
			last = m.ID
			if c, ok := e.waiting.LoadAndDelete(m.FieldValues["id"]); ok {
				c.(chan string) <- m.FieldValues[bench.Field]
			}
		}
	}
	return nil
}
