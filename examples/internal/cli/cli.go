// Package cli holds what the examples share: the command line, logging, finding a Redis, and
// serving pages. Package app starts and stops the parts in order.
package cli

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/rs/zerolog"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/app"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/embedded"
)

// Main runs a program until it ends or is interrupted, with a human-readable log.
func Main(name string, run func(context.Context, *slog.Logger) error) {
	logging.Disable() // go-redis' own log repeats our errors
	log := console()
	slog.SetDefault(log) // packages without their own logger log here
	app.Main(name, func(ctx context.Context) error {
		err := run(ctx, log)
		if taken := (*web.ListenError)(nil); errors.As(err, &taken) {
			err = fmt.Errorf("%w, as -addr localhost:3009", err)
		}
		return err
	})
}

// IsTerminal reports whether a file is a terminal.
func IsTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Console returns a human-readable log.
func Console(out io.Writer, colors bool) *slog.Logger {
	console := zerolog.ConsoleWriter{Out: out, TimeFormat: time.TimeOnly, NoColor: !colors,
		FieldsOrder: []string{"method", "path", "status", "ms", "bytes", "type"}}
	return slog.New(zerolog.NewSlogHandler(zerolog.New(console).Level(zerolog.InfoLevel).With().Timestamp().Logger()))
}

func console() *slog.Logger { return Console(os.Stderr, IsTerminal(os.Stderr)) }

// Graph runs a graph on a server that other programs use too: REDIS_URL, or redis://localhost:6379.
// It runs until the graph ends or is interrupted. drawn prints the graph first, on standard error.
func Graph(name string, drawn bool, branch func(redis.UniversalClient) flow.Branch) {
	logging.Disable() // go-redis' own log repeats our errors
	ctx := context.Background()
	rdb, err := redisio.Connect(ctx, cmp.Or(os.Getenv("REDIS_URL"), "redis://localhost:6379"), redisio.ConnectOptions{})
	if err != nil {
		Check(name, fmt.Errorf(
			"%w\nread and pipe meet on a server: start one (redis-server), or set REDIS_URL to one that runs", err))
	}
	defer rdb.Close()
	log := console()
	ctx, _, end := Inspect(ctx, name, rdb, log)
	defer end()
	g := flow.New(name, branch(rdb), flow.Log(log))
	if drawn {
		fmt.Fprintln(os.Stderr, g.Mermaid())
	}
	Check(name, g.RunUntilInterrupt(ctx))
}

// Check ends the process with status 1 after an error.
func Check(name string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Redis opens the Redis that REDIS_URL names, or a private one, and logs which one it is. The
// caller calls done.
func Redis(ctx context.Context, log *slog.Logger) (rdb redis.UniversalClient, done func() error, err error) {
	rdb, where, done, err := embedded.Open(ctx, os.Getenv("REDIS_URL"))
	if err == nil {
		log.Info(where)
	}
	return rdb, done, err
}

// Server returns a server of a site. It logs the URL to open in a browser.
func Server(addr string, site http.Handler, cfg web.ServerConfig, log *slog.Logger) *app.Server {
	return &app.Server{Addr: addr, Handler: site, Config: cfg,
		Listening: func(url string) { log.Info("open " + url + " in a browser; Ctrl-C ends") }}
}

// Page serves the embedded folder page.
func Page(files embed.FS) http.Handler {
	page, err := fs.Sub(files, "page")
	if err != nil {
		panic(err) // it is embedded
	}
	return http.FileServerFS(page)
}

// Secure makes browsers run only code that is served here, and send data nowhere else.
func Secure(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().
			Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
				"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-cache")
		h.ServeHTTP(w, r)
	})
}
