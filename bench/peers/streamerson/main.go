// Command streamerson compares this project with streamerson for Node. It alternates them in one
// run, on one private redis-server:
//
//	calls   100 callers and a worker in one process: requests a second, and how long they take
//	http    an HTTP gateway and a worker in processes of their own, 64 connections that post 100 bytes of JSON
//
// It needs redis-server and node on PATH, and the packages of node/package-lock.json installed: see
// bench/README.md.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func main() {
	var (
		reps  = flag.Int("reps", 5, "alternating repetitions; the median is reported")
		long  = flag.Duration("for", 3*time.Second, "duration of one repetition")
		node  = flag.String("node", "streamerson/node", "the folder of peer.js, with its packages installed")
		role  = flag.String("role", "", "role of a child process: gateway or worker")
		addr  = flag.String("addr", "", "Redis address for a child process")
		topic = flag.String("topic", "", "topic of a child process")
		wire  = flag.String("wire", "native", "wire of a child process: native or v1")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *role != "" {
		err = serveRole(ctx, *role, *addr, *topic, *wire)
	} else {
		err = compare(ctx, *node, *reps, *long)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// result is one repetition.
type result struct {
	Rate float64       `json:"rate"` // per second
	P50  time.Duration `json:"p50"`
	P99  time.Duration `json:"p99"`
}

// contender is one of the compared implementations. Each call of run is one repetition.
type contender struct {
	name string
	run  func(context.Context, time.Duration) (result, error)
}

func compare(ctx context.Context, node string, reps int, long time.Duration) (err error) {
	server, err := redistest.New(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	b := &bench{addr: server.Addr(), node: node}
	defer func() { err = errors.Join(err, b.close()) }()
	for _, c := range []struct {
		name string
		make func(context.Context) ([]contender, error)
	}{{"calls, 100 callers", b.calls}, {"http, 64 connections", b.http}} {
		contenders, err := c.make(ctx)
		if err != nil {
			return err
		}
		if err := turns(ctx, os.Stdout, c.name, contenders, reps, long); err != nil {
			return err
		}
	}
	return nil
}

// turns alternates the contenders. The first is the reference.
func turns(
	ctx context.Context,
	out io.Writer,
	name string,
	contenders []contender,
	reps int,
	long time.Duration,
) error {
	all, ratios := make([][]result, len(contenders)), make([][]float64, len(contenders))
	for rep := range reps + 1 { // the first is a warm-up
		for i, c := range contenders {
			r, err := c.run(ctx, long)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", name, c.name, err)
			}
			if rep > 0 {
				all[i] = append(all[i], r)
				ratios[i] = append(ratios[i], r.Rate/all[0][rep-1].Rate)
			}
		}
	}
	fmt.Fprintf(out, "%s (%d × %v, medians)\n", name, reps, long)
	for i, c := range contenders {
		fmt.Fprintf(out, "  %-28s %8.0f/s  ratio %5.2f (%.2f–%.2f)  p50 %9v  p99 %9v\n", c.name,
			median(all[i], func(r result) float64 { return r.Rate }).Rate,
			median(ratios[i], func(r float64) float64 { return r }), slices.Min(ratios[i]), slices.Max(ratios[i]),
			median(all[i], func(r result) time.Duration { return r.P50 }).P50.Round(10*time.Microsecond),
			median(all[i], func(r result) time.Duration { return r.P99 }).P99.Round(10*time.Microsecond))
	}
	return nil
}

func median[T any, K cmp.Ordered](all []T, by func(T) K) T {
	all = slices.SortedFunc(slices.Values(all), func(a, b T) int { return cmp.Compare(by(a), by(b)) })
	return all[len(all)/2]
}

// summary computes the result from the latencies.
func summary(took []time.Duration, elapsed time.Duration) (result, error) {
	if len(took) == 0 {
		return result{}, errors.New("no request was answered")
	}
	slices.Sort(took)
	return result{float64(len(took)) / elapsed.Seconds(), took[len(took)/2], took[len(took)*99/100]}, nil
}

// process is a child process. It ends when its input is closed.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// start starts a program and decodes its first line of output, which is JSON.
func (b *bench) start(ctx context.Context, hello any, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, name, args...)}
	p.cmd.Stderr, p.cmd.WaitDelay = os.Stderr, 5*time.Second
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in, p.out = in, bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	b.closers = append(b.closers, func() error { p.in.Close(); return p.cmd.Wait() })
	return p, p.hear(hello)
}

func (p *process) hear(v any) error {
	if !p.out.Scan() {
		return fmt.Errorf("%s has ended: %w", strings.Join(p.cmd.Args, " "), cmp.Or(p.out.Err(), io.ErrUnexpectedEOF))
	}
	return json.Unmarshal(p.out.Bytes(), v)
}
