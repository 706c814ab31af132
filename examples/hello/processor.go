package main

import (
	"context"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
)

const topic = "my-stream-topic"

// Hello is the event. It has no fields.
type Hello struct{}

// Greeting is the answer to Hello.
type Greeting struct {
	OK string `json:"ok"`
}

func greet(context.Context, Hello) (Greeting, error) { return Greeting{OK: "received message!"}, nil }

// processor returns the service that answers events.
func processor(rdb redis.UniversalClient, log *slog.Logger) *gateways.Service {
	svc := gateways.NewService(rdb, topic, gateways.ServiceConfig{Log: log})
	svc.Use(logged(log))
	gateways.Handle(svc, "helloWorldEvent", greet)
	return svc
}

// logged logs each event and its answer.
func logged(log *slog.Logger) gateways.Middleware {
	return func(next gateways.Handler) gateways.Handler {
		return func(ctx context.Context, r *gateways.Request) (gateways.Response, error) {
			id, _ := r.Headers.Get(gateways.HeaderRequestID)
			log.Info("event received", "type", r.Type, "id", id)
			answer, err := next(ctx, r)
			log.Info("event answered", "type", r.Type, "id", id, "failed", err != nil)
			return answer, err
		}
	}
}
