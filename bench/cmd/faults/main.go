// Command faults injects faults into workers, servers and the network, and counts every message.
// See -h.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/streamerson/streamerson-go/bench/faulttest"
)

func main() {
	faulttest.Worker()
	logging.Disable() // faults break connections all the time
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `faults tests the guarantees of the Redis endpoints. It runs real workers on real redis-servers,
injects faults by a schedule drawn from a seed, and counts every message by its id.

  go run ./bench/cmd/faults                        all scenarios in their short form, two or three minutes
  go run ./bench/cmd/faults -long -o report.md     100,000 messages each, about half an hour
  go run ./bench/cmd/faults -scenario R2,R10       some scenarios; R10 selects all of its kind
  go run ./bench/cmd/faults -scenario R1 -seed 7   the same faults again

It needs a redis-server (set REDISTEST_SERVER to use another one). The exit status is 0 when all
passed, 1 when a guarantee was violated, 2 for a wrong command line, 130 after Ctrl-C. A trial with
fewer faults than it needs is void, and fails.

Flags:
`

// run returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o faulttest.Options
	var names, report string
	set := flag.NewFlagSet("faults", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.BoolVar(&o.Long, "long", false, "run the long form: 100,000 messages per scenario, and the long-only scenarios")
	set.StringVar(
		&names,
		"scenario",
		"",
		"`ids` of scenarios, separated by commas; P5 checks that broken workers are caught",
	)
	set.Uint64Var(&o.Seed, "seed", 1, "`number` that the schedules of faults are drawn from")
	set.IntVar(&o.Messages, "n", 0, "`messages` of each scenario (0: the default of the form)")
	set.BoolVar(&o.Keep, "keep", false, "keep the folders of the servers and the workers' output")
	set.DurationVar(&o.Soak, "soak", 10*time.Minute, "duration of R20")
	set.IntVar(&o.Parallel, "parallel", 2, "`trials` at the same time: most of their time is waiting")
	set.StringVar(&report, "o", "", "write the report to this Markdown `file` as well")
	set.Usage = func() {
		fmt.Fprint(stderr, usage)
		set.PrintDefaults()
		fmt.Fprint(stderr, "\nScenarios:\n")
		faulttest.List(stderr)
	}
	if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	var ids []string
	for id := range strings.SplitSeq(names, ",") {
		if id = strings.TrimSpace(id); id != "" {
			ids = append(ids, id)
		}
	}
	scenarios, err := faulttest.Select(ids, o.Long)
	if set.NArg() > 0 {
		err = fmt.Errorf("faults: unexpected argument %q; see -h", set.Arg(0))
	}
	if o.Messages < 0 || o.Soak < 0 || o.Parallel < 1 {
		err = errors.New("faults: -n and -soak must not be negative, and -parallel must be 1 or more")
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	o.Logf = func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) }
	results, err := faulttest.RunAll(ctx, scenarios, o)
	faulttest.WriteTable(stdout, results)
	if ctx.Err() != nil {
		fmt.Fprintln(stderr, "interrupted: the rest was not run")
		return 130
	}
	if err == nil && report != "" {
		err = faulttest.WriteReport(ctx, report, results, o, names)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	for i := range results {
		if !results[i].Passed() {
			return 1
		}
	}
	return 0
}
