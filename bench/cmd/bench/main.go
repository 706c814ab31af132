// Command bench runs the benchmarks and prints a comparison of the implementations. See -h.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/bench"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/embedded"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() { // ends with the process
		<-ctx.Done()
		stop() // a second Ctrl-C ends the program at once
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

type flags struct {
	cases      string
	only       string
	n          int
	payload    string
	url        string
	reps       int
	json       bool
	cpuProfile string
}

func parse(args []string, stderr io.Writer) (f flags, payloads []int, err error) {
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.StringVar(
		&f.cases,
		"case",
		"all",
		"`names` of cases, separated by commas; inproc selects all in-process cases, growth the growth cases",
	)
	set.StringVar(
		&f.only,
		"only",
		"",
		"run only the implementations with these `names`, separated by commas: for profiles",
	)
	set.IntVar(&f.n, "n", 0, "`messages` per run (0: the case's default)")
	set.StringVar(
		&f.payload,
		"payload",
		"100",
		"`bytes` of each message in the Redis cases; several sizes separated by commas",
	)
	set.StringVar(
		&f.url,
		"url",
		"",
		"the Redis server to use, as redis://localhost:6379/0 (default $REDIS_URL, else a private redis-server)",
	)
	set.IntVar(&f.reps, "reps", 5, "`repetitions`, in which the implementations take turns")
	set.BoolVar(&f.json, "json", false, "print a JSON line for each case and implementation instead of tables")
	set.StringVar(
		&f.cpuProfile,
		"cpuprofile",
		"",
		"write a CPU profile to this `file`; go tool pprof -tagfocus run=consume/default looks at one implementation",
	)
	set.Usage = func() { usage(stderr, set) }
	if err := set.Parse(args); err != nil {
		return f, nil, err
	}
	if set.NArg() > 0 {
		return f, nil, fmt.Errorf("unexpected argument %q; see -h", set.Arg(0))
	}
	if f.n < 0 || f.reps < 1 {
		return f, nil, errors.New("-n must not be negative, and -reps must be 1 or more")
	}
	for _, s := range strings.Split(f.payload, ",") {
		size, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || size < 8 || size > 1<<20 {
			return f, nil, fmt.Errorf("-payload %q: give sizes from 8 to %d, separated by commas", f.payload, 1<<20)
		}
		payloads = append(payloads, size)
	}
	return f, payloads, nil
}

func usage(w io.Writer, set *flag.FlagSet) {
	fmt.Fprint(
		w,
		`bench compares the framework with hand-written code that does the same work: in one run, alternating, with
checked results. Compare the ratios to the reference; absolute rates vary with the machine and its load.

  go run ./bench/cmd/bench                              all cases but memory, overload, growth and op
  go run ./bench/cmd/bench -case inproc,produce -reps 9 some of them, more often
  go run ./bench/cmd/bench -case consume -payload 100,1024 -json
  go run ./bench/cmd/bench -case memory -n 10000000     heap and resident memory of a long run

Flags:
`,
	)
	set.PrintDefaults()
	fmt.Fprint(w, "\nCases:\n")
	for _, c := range bench.Cases() {
		fmt.Fprintf(w, "  %s: %s\n", c.Name, c.About)
		for _, i := range c.Implementations {
			mark := ""
			if i.Name == c.Reference && len(c.Implementations) > 1 {
				mark = " (the reference)"
			}
			fmt.Fprintf(w, "      %-20s %s%s\n", i.Name, i.About, mark)
		}
	}
}

// run returns the exit code: 0, 1 after a failure, 2 for wrong flags, 130 after an interruption.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	f, payloads, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	var cases []bench.Case
	if err == nil {
		cases, err = bench.Select(strings.Split(f.cases, ",")...)
	}
	if err == nil && f.only != "" {
		cases, err = bench.Only(cases, strings.Split(f.only, ",")...)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	if err := compare(ctx, f, cases, payloads, stdout, stderr); err != nil {
		if ctx.Err() != nil {
			fmt.Fprintln(stderr, "interrupted: the last case has fewer repetitions")
			return 130
		}
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func compare(ctx context.Context, f flags, cases []bench.Case, payloads []int, stdout, stderr io.Writer) (err error) {
	logf := func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) }
	logf("%s, %d CPUs, %s/%s", runtime.Version(), runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH)
	rdb, closeServer, err := server(ctx, f.url, cases, logf)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeServer()) }()
	if f.cpuProfile != "" {
		file, err := os.Create(f.cpuProfile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	var writeErr error
	began := time.Now()
	err = bench.Run(ctx, bench.Options{
		Cases: cases, N: f.n, Payloads: payloads, Reps: f.reps, Redis: rdb, Logf: logf,
		Start: func(ctx context.Context) (redis.UniversalClient, func() error, error) {
			rdb, _, end, err := embedded.Open(ctx, "")
			return rdb, end, err
		},
		Each: func(results []bench.Result) {
			write := bench.WriteTable
			if f.json {
				write = bench.WriteJSON
			}
			writeErr = errors.Join(writeErr, write(stdout, results))
		},
	})
	logf("took %v", time.Since(began).Round(time.Second))
	return errors.Join(err, writeErr)
}

// server opens a real Redis server, if a case needs one. An in-process imitation would not measure
// anything. It returns nil if no server is available.
func server(ctx context.Context, url string, cases []bench.Case, logf func(string, ...any)) (
	_ redis.UniversalClient, closeIt func() error, _ error,
) {
	none := func() error { return nil }
	needed := false
	for _, c := range cases {
		needed = needed || c.Redis
	}
	if !needed {
		return nil, none, nil
	}
	if url == "" {
		url = os.Getenv("REDIS_URL")
	}
	if url != "" {
		rdb, err := redisio.Connect(ctx, url, redisio.ConnectOptions{})
		if err != nil {
			return nil, none, err
		}
		logf("Redis: the server given; keys named bench:… are created and deleted")
		return rdb, rdb.Close, nil
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		logf("Redis: no -url, no REDIS_URL and no redis-server on PATH, so only the in-process cases are run")
		return nil, none, nil
	}
	rdb, describe, closeIt, err := embedded.Open(ctx, "")
	if err != nil {
		return nil, none, err
	}
	logf("Redis: %s", describe)
	return rdb, closeIt, nil
}
