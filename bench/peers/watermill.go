package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/bench"
)

// Watermill runs with its defaults, except that a marshaller puts the payload into the only field of
// an entry. So it reads and writes the same entries as the others.

type oneField struct{}

func (oneField) Marshal(_ string, m *message.Message) (map[string]any, error) {
	return map[string]any{bench.Field: []byte(m.Payload)}, nil
}

func (oneField) Unmarshal(values map[string]any) (*message.Message, error) {
	payload, ok := values[bench.Field].(string)
	if !ok {
		return nil, errors.New("an entry has no payload")
	}
	return message.NewMessage(watermill.NewUUID(), []byte(payload)), nil
}

func watermillOf(c bench.Case) []bench.Implementation {
	of := func(slow int, about string, run func(context.Context, *bench.Trial) error) []bench.Implementation {
		return []bench.Implementation{{Name: "watermill", About: about, Slow: slow, Run: run}}
	}
	switch c.Name {
	case "produce":
		return of(8, "Watermill: 64 goroutines publish with one Publisher", watermillProduce)
	case "consume":
		return of(20, "Watermill: a Router with a consumer handler", watermillConsume)
	case "transform":
		return of(10, "Watermill: a Router with a handler that publishes", watermillTransform)
	case "latency":
		return of(1, "Watermill: a Router with a consumer handler", watermillLatency)
	}
	return nil
}

func watermillProduce(ctx context.Context, t *bench.Trial) (err error) {
	pub, err := publisher(t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pub.Close()) }()
	return share(ctx, t.N, 64, func(ctx context.Context, i int) error {
		m := message.NewMessageWithContext(ctx, watermill.NewUUID(), t.PayloadAt(i))
		return pub.Publish(t.Out, m)
	})
}

func watermillConsume(ctx context.Context, t *bench.Trial) error {
	var mu sync.Mutex
	return routed(ctx, t, func(r *message.Router, sub message.Subscriber, handled func()) error {
		r.AddConsumerHandler("sum", t.In, sub, func(m *message.Message) error {
			defer handled()
			mu.Lock()
			defer mu.Unlock()
			t.Got.AddPayload(m.Payload)
			return nil
		})
		return nil
	})
}

func watermillTransform(ctx context.Context, t *bench.Trial) error {
	return routed(ctx, t, func(r *message.Router, sub message.Subscriber, handled func()) error {
		pub, err := publisher(t) // the router closes it
		if err != nil {
			return err
		}
		r.AddHandler("price", t.In, sub, t.Out, pub, func(m *message.Message) ([]*message.Message, error) {
			defer handled()
			out, err := bench.Price(m.Payload)
			if err != nil {
				return nil, err
			}
			return message.Messages{message.NewMessage(watermill.NewUUID(), out)}, nil
		})
		return nil
	})
}

func watermillLatency(ctx context.Context, t *bench.Trial) error {
	var mu sync.Mutex
	return t.Ticking(ctx, nil, func(ctx context.Context) error {
		return routed(ctx, t, func(r *message.Router, sub message.Subscriber, handled func()) error {
			r.AddConsumerHandler("note", t.In, sub, func(m *message.Message) error {
				defer handled()
				mu.Lock()
				defer mu.Unlock()
				t.Arrived(m.Payload)
				return nil
			})
			return nil
		})
	})
}

func publisher(t *bench.Trial) (*redisstream.Publisher, error) {
	return redisstream.NewPublisher(
		redisstream.PublisherConfig{Client: another(t), Marshaller: oneField{}}, watermill.NopLogger{})
}

// routed runs a router until all messages of the trial are handled and acknowledged.
func routed(
	ctx context.Context, t *bench.Trial, add func(*message.Router, message.Subscriber, func()) error,
) (err error) {
	sub, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: another(t), Unmarshaller: oneField{}, ConsumerGroup: t.Group,
	}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return errors.Join(err, sub.Close())
	}
	handled, all := counted(t.N)
	if err := add(router, sub, handled); err != nil {
		return errors.Join(err, sub.Close())
	}
	running := make(chan error, 1)
	go func() { running <- router.Run(ctx) }() // ended below
	select {
	case <-all:
		err = settled(ctx, t)
	case <-ctx.Done():
		err = context.Cause(ctx)
	case err := <-running:
		return err
	}
	return errors.Join(err, router.Close(), <-running)
}

// counted returns a function that is called n times, and a channel that is closed then.
func counted(n int) (done func(), all <-chan struct{}) {
	var mu sync.Mutex
	c := make(chan struct{})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if n--; n == 0 {
			close(c)
		}
	}, c
}

// settled waits for the last acknowledgement and stops the clock.
func settled(ctx context.Context, t *bench.Trial) error {
	for {
		pending, err := t.Redis.XPending(ctx, t.In, t.Group).Result()
		if err != nil {
			return err
		}
		if pending.Count == 0 {
			t.Stop()
			return nil
		}
		time.Sleep(time.Millisecond)
	}
}

// another returns a client of its own for the trial's server.
func another(t *bench.Trial) *redis.Client {
	o := *t.Redis.(*redis.Client).Options()
	return redis.NewClient(&o)
}
