// Command peers runs the cases of package bench with other frameworks too. All implementations take
// turns in the same repetitions, on one private redis-server, and all results are checked. It writes JSON lines, tables and plots into bench/results, and refreshes the table
// in the main README. Without redis-server on PATH it fails; without Node or its packages
// streamerson for Node is left out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/streamerson/streamerson-go/bench"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func main() {
	var err error
	if os.Getenv(natsRole) != "" {
		err = serveNATS()
	} else {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
		err = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "interrupted: the last case has fewer repetitions")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// selected returns the cases of these names with the implementations of all peers.
func selected(names string, nats *natsServer) ([]bench.Case, error) {
	cases, err := bench.Select(strings.Split(names, ",")...)
	for i, c := range cases {
		cases[i].Implementations = slices.Concat(c.Implementations,
			inProcessOf(c), watermillOf(c), rueidisOf(c), asynqOf(c), nats.of(c), nodeOf(c))
	}
	return cases, err
}

func isCalls(c bench.Case) bool {
	return strings.HasPrefix(c.Name, "calls-") || strings.HasPrefix(c.Name, "http-")
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	set := flag.NewFlagSet("peers", flag.ContinueOnError)
	set.SetOutput(stderr)
	names := set.String("case", "all", "`names` of cases, separated by commas")
	only := set.String("only", "", "run only the implementations with these `names`, separated by commas")
	n := set.Int("n", 0, "`messages` per run (0: the case's default)")
	reps := set.Int("reps", 5, "`repetitions`, in which the implementations take turns")
	quick := set.Bool("quick", false, "two repetitions, with an eighth of the messages")
	out := set.String("o", "../results", "write the results into this `folder`; empty: only print tables")
	readme := set.String("readme", "../../README.md", "refresh the table in this `file` when all cases ran")
	if err := set.Parse(args); err != nil {
		return err
	}
	if set.NArg() > 0 || *n < 0 || *reps < 1 {
		return errors.New("peers: unexpected arguments; see -h")
	}
	nats, err := startNATS()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, nats.close()) }()
	cases, err := selected(*names, nats)
	if err == nil && *only != "" {
		cases, err = bench.Only(cases, strings.Split(*only, ",")...)
	}
	if err != nil {
		return err
	}
	if *quick {
		*reps = min(*reps, 2)
		for i := range cases {
			cases[i].N = max(1, cases[i].N/8)
		}
	}
	srv, err := redistest.New(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()
	rdb := redis.NewClient(&redis.Options{Addr: srv.Addr()})
	defer rdb.Close()

	began := time.Now()
	var all []bench.Result
	var printErr error
	runErr := bench.Run(ctx, bench.Options{
		Cases: cases, N: *n, Reps: *reps, Redis: rdb,
		Logf: func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) },
		Each: func(results []bench.Result) {
			all = append(all, results...)
			printErr = errors.Join(printErr, bench.WriteTable(stdout, results))
		},
	})
	fmt.Fprintf(stderr, "took %v\n", time.Since(began).Round(time.Second))
	if *out == "" || len(all) == 0 {
		return errors.Join(runErr, printErr)
	}
	// An interruption leaves complete repetitions, which are written too. The README keeps its table.
	writeErr := write(*out, machineOf(context.WithoutCancel(ctx), rdb, *reps), all)
	if runErr == nil && writeErr == nil && *names == "all" && *only == "" && *readme != "" {
		writeErr = refresh(*readme, ratios(all))
	}
	return errors.Join(runErr, printErr, writeErr)
}

// share calls do with the numbers below n, on several goroutines. The first error ends it.
func share(ctx context.Context, n, goroutines int, do func(context.Context, int) error) error {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range goroutines {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || ctx.Err() != nil {
					return ctx.Err()
				}
				if err := do(ctx, i); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}
