package cli

import (
	"context"
	"crypto/rand"
	"flag"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways/app"
	"github.com/streamerson/streamerson-go/gateways/inspect"
	"github.com/streamerson/streamerson-go/gateways/metrics"
	"github.com/streamerson/streamerson-go/gateways/parts"
)

var inspected = flag.Bool("inspect", false, "serve a page of the graphs as they run, and /metrics, on a free port")

// Inspected reports whether -inspect was given.
func Inspected() bool { return *inspected }

// Inspect serves the page of an example, and its metrics for Prometheus, if -inspect was given, until
// the returned function is called, and logs their addresses. That of the page has a random part, which
// is its password: the page shows payloads, and takes actions. Graphs that start with the returned
// context are shown, and so are the parts that are added to the set.
func Inspect(
	ctx context.Context, name string, rdb redis.UniversalClient, log *slog.Logger,
) (watched context.Context, show *parts.Set, done func()) {
	show = parts.New()
	if !*inspected {
		return ctx, show, func() {}
	}
	page := inspect.New(rdb, show, inspect.Config{
		App: name, Log: log, AllowActions: true, ShowPayloads: true,
		Authorize: func(*http.Request, inspect.Action) (string, error) { return "the terminal's user", nil },
	})
	secret := rand.Text() + "/" // only the user of this terminal knows it: the page can do everything
	mux := http.NewServeMux()
	mux.Handle("/"+secret, page)
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.New(show))
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{})) // nothing in it is secret
	server := &app.Server{Addr: "localhost:0", Handler: mux, Listening: func(url string) {
		log.Info("inspect " + name + " at " + url + secret)
		log.Info("metrics of " + name + " at " + url + "metrics")
	}}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := app.Run(running, server, page); err != nil {
			log.Error("the page of -inspect failed", "error", err)
		}
	}()
	return show.Watch(ctx), show, func() {
		stop()
		<-ended
	}
}
