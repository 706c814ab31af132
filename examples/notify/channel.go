package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/operators/failsafe"
	"github.com/streamerson/streamerson-go/redisio/ratelimit"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// channel is the graph that sends the deliveries of a channel.
//
// All processes together keep the provider's rate. Failures are tried again: three times in place,
// and then after a while, by any process. After five failures in a row a breaker pauses the stream
// for a second. A delivery that can never succeed becomes a dead letter at once.
func channel(
	rdb redis.UniversalClient, name string, send func(context.Context, Delivery) error, log *slog.Logger,
) (*flow.Graph, error) {
	limit, err := ratelimit.New(rdb, ratelimit.Config{Key: key("limit:" + name), Most: 40, Per: time.Second})
	if err != nil {
		return nil, err
	}
	breaker := circuitbreaker.NewBuilder[any]().
		HandleIf(func(_ any, err error) bool { return errors.Is(err, errDown) }).
		WithFailureThreshold(5).WithDelay(time.Second).Build()
	deliver := func(ctx context.Context, d Delivery) (Delivery, error) {
		err := send(ctx, d)
		if errors.Is(err, errNobody) {
			err = flow.Reject(err)
		}
		return d, err
	}
	waiting := source.Stream(rdb, source.StreamConfig[Delivery]{
		Key: key(name), Group: "senders", Tuning: brief(),
		MaxDeliveries: 1000, // an outage is not the delivery's fault
	})
	paced := operators.ThrottleShared(waiting, limit, nil)
	sent := operators.Map(paced, deliver, flow.Workers(4), flow.Unordered(), flow.Name("send"), failsafe.With(breaker),
		flow.OnFault(flow.Retry(3, 100*time.Millisecond, flow.NackBackoff(250*time.Millisecond))))
	return flow.New(name, flow.To(sent, sink.Discard[Delivery]()), flow.Log(log)), nil
}
