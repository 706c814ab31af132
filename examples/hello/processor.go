package main

import (
	"context"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/streamerson/streamerson-go/gateways"
)

const topic = "my-stream-topic"

// Hello is what the event says: nothing but that it happened.
type Hello struct{}

// Greeting is the answer.
type Greeting struct {
	OK string `json:"ok"`
}

func greet(context.Context, Hello) (Greeting, error) { return Greeting{OK: "received message!"}, nil }

// processor answers events.
func processor(rdb redis.UniversalClient, log zerolog.Logger) *gateways.Service {
	svc := gateways.NewService(rdb, topic, gateways.ServiceConfig{Log: log})
	svc.Use(logged(log))
	gateways.Handle(svc, "helloWorldEvent", greet)
	return svc
}

// logged shows events as they come.
func logged(log zerolog.Logger) gateways.Middleware {
	return func(next gateways.Handler) gateways.Handler {
		return func(ctx context.Context, r *gateways.Request) (gateways.Response, error) {
			id, _ := r.Headers.Get(gateways.HeaderRequestID)
			log.Info().Str("type", r.Type).Str("id", id).Msg("event received")
			answer, err := next(ctx, r)
			log.Info().Str("type", r.Type).Str("id", id).Err(err).Msg("event answered")
			return answer, err
		}
	}
}
