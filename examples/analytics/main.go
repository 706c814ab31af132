// Analytics computes figures of page views in windows of event time: unique visitors, top pages and
// the 95th percentile of load times per minute, and the sessions of each user. The views are
// generated. They arrive out of order through a Redis stream, and some arrive too late: these go to a
// stream of their own. A page draws the figures live.
//
//	go run ./examples/analytics            # needs nothing installed; open http://localhost:3006/
//	go run ./examples/analytics -check     # compares the figures with plain loops over the same views
//	go run ./examples/analytics -h         # all flags
//
// The time of the views is that of half an hour ago, and passes faster than the clock.
package main

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/app"
	"github.com/streamerson/streamerson-go/gateways/web"
)

type options struct {
	addr    string
	views   int
	minutes int
	pace    time.Duration
	seed    uint64
	check   bool
}

func main() {
	var o options
	flag.StringVar(&o.addr, "addr", "localhost:3006", "`address` the server listens on")
	flag.IntVar(&o.views, "views", 12_000, "`number` of views")
	flag.IntVar(&o.minutes, "minutes", 30, "`number` of minutes of event time that they take")
	flag.DurationVar(&o.pace, "minute", 2*time.Second, "how long a minute of event time takes")
	flag.Uint64Var(&o.seed, "seed", 1, "`seed` of the generator")
	flag.BoolVar(&o.check, "check", false, "write all views at once, compare the figures with plain loops, and end")
	usage := "Analytics shows figures of page views in windows of event time, at http://localhost:3006/.\n" +
		"REDIS_URL names the Redis server; without it a private one is started, and ends with the program.\n" +
		"\nUsage: analytics [flags]\n"
	cli.Parse(usage, 0, func() error {
		if o.views < 1 || o.minutes < 1 || o.minutes > 600 || o.pace <= 0 {
			return errors.New("-views, -minute and -minutes are positive, and -minutes is at most 600")
		}
		return nil
	})
	cli.Main("analytics", func(ctx context.Context, log *slog.Logger) error { return run(ctx, o, log) })
}

//go:embed page
var page embed.FS

func run(ctx context.Context, o options, log *slog.Logger) error {
	rdb, done, err := cli.Redis(ctx, log)
	if err != nil {
		return err
	}
	defer done()
	ctx, _, end := cli.Inspect(ctx, "analytics", rdb, log)
	defer end()
	begin := time.Now().Add(-time.Duration(o.minutes) * time.Minute).Truncate(time.Minute)
	views := generate(o.views, o.minutes, begin, o.seed)
	s := streamsOf("analytics:" + rand.Text()[:8])
	defer func() {
		if err := rdb.Del(context.WithoutCancel(ctx), s.views, s.late, s.views+":dead").Err(); err != nil {
			log.Warn("the streams were not deleted", "error", err)
		}
	}()
	if o.check {
		return runCheck(ctx, rdb, s, views, log)
	}
	figures := newBoard()
	g := analyse(rdb, s, figures, flow.Log(log))
	fmt.Println(g.Mermaid())
	mux := http.NewServeMux()
	mux.Handle("GET /", cli.Page(page))
	mux.Handle("GET /figures", figures)
	perSecond := max(int(float64(o.views)/float64(o.minutes)/o.pace.Seconds()), 1)
	return app.Run(ctx, g, load(rdb, s, views, perSecond, flow.Log(log)),
		cli.Server(o.addr, cli.Secure(mux), web.ServerConfig{Log: log}, log))
}

// runCheck runs the graph until all views are settled, and compares its figures.
func runCheck(ctx context.Context, rdb redis.UniversalClient, s streams, views []View, log *slog.Logger) error {
	ctx, settled := context.WithCancel(ctx)
	defer settled()
	var n atomic.Int64
	figures := newBoard()
	g := analyse(rdb, s, figures, flow.Log(log), flow.OnEvent(flow.Hooks{
		Committed: func(_ string, of []flow.Settlement) {
			if n.Add(int64(len(of))) >= int64(len(views)) {
				settled()
			}
		},
	}))
	fmt.Println(g.Mermaid())
	if err := load(rdb, s, views, 0, flow.Log(log)).Run(ctx); err != nil {
		return err
	}
	if err := g.Run(ctx); err != nil {
		return err
	}
	if n.Load() < int64(len(views)) {
		return errors.New("interrupted before all views were settled")
	}
	return check(context.WithoutCancel(ctx), os.Stdout, rdb, s, figures, views)
}
