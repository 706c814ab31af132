package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
)

// options are the flags of the command line.
type options struct {
	file   string
	name   string
	named  bool // -name was given
	join   bool
	fail   float64
	seed   uint64
	slow   time.Duration
	shards int
	top    int
	keep   bool
	lease  time.Duration
}

const usage = `Wordcount writes the lines of a text to a Redis stream, counts their words with a graph over a consumer group,
and compares the result to that of a plain loop.

Usage: wordcount [flags] [file]

file is the text; - is standard input; without it the first chapters of Alice in Wonderland are counted.
REDIS_URL, such as redis://localhost:6379, names the server. Without it a private redis-server is started if there
is one on PATH, and else an in-process one; neither outlives this program.

Two processes with the same REDIS_URL and -name share the work, the second with -join:
  wordcount -name demo -slow 1ms big.txt
  wordcount -name demo -join

The first Ctrl-C finishes what has been read and ends, the second ends at once. The exit status is 0 when the
result is right (or after the first Ctrl-C), 1 when it is not or something fails, 2 for a wrong command line.
`

// parse reads the command line, and exits with status 2 if it is wrong.
func parse() (o options) {
	flag.StringVar(
		&o.name,
		"name",
		"",
		"`prefix` of the streams' names, <prefix>:lines and <prefix>:counts, which stay\n"+
			"(default: a new one for each run, deleted at its end)",
	)
	flag.BoolVar(&o.join, "join", false, "load nothing: share the work of -name until it is done")
	flag.Float64Var(&o.fail, "fail", 0, "fail each call of a handler with this `probability`, from 0 to 0.9")
	flag.Uint64Var(&o.seed, "seed", 1, "`number` that -fail draws its random numbers from")
	flag.DurationVar(&o.slow, "slow", 0, "`pause` for each line, to watch it work (such as 1ms)")
	flag.IntVar(&o.shards, "shards", 4, "`number` of shards that count at the same time, from 1 to 64")
	flag.IntVar(&o.top, "top", 10, "`number` of words to print, the most frequent first")
	flag.BoolVar(&o.keep, "keep", false, "keep the streams of a run without -name too")
	flag.DurationVar(&o.lease, "lease", 3*time.Second,
		"how long a killed process keeps its lines from the others, a `time` from 100ms")
	cli.Parse(usage, -1, func() error {
		o.file, o.named = flag.Arg(0), o.name != ""
		return o.check(flag.NArg())
	})
	if cli.Inspected() && o.slow == 0 {
		o.slow = inspectedSlow
	}
	if !o.named {
		o.name = fmt.Sprintf("wordcount-%d-%d", os.Getpid(), time.Now().Unix())
	}
	return o
}

// inspectedSlow is the pause for each line with -inspect: without one, all is over before a browser
// is open.
const inspectedSlow = 50 * time.Millisecond

// check reports all mistakes at once.
func (o options) check(files int) error {
	var errs []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(files > 1, "%d files: give one", files)
	wrong(o.join && !o.named, "-join without -name: say what to join")
	wrong(o.join && files > 0, "-join with a file: it loads nothing")
	wrong(!(o.fail >= 0 && o.fail <= 0.9), "-fail %v: give 0 to 0.9", o.fail)
	wrong(o.slow < 0, "-slow %v: give 0 or more", o.slow)
	wrong(o.shards < 1 || o.shards > 64, "-shards %d: give 1 to 64", o.shards)
	wrong(o.top < 0, "-top %d: give 0 or more", o.top)
	wrong(o.lease < 100*time.Millisecond, "-lease %v: give 100ms or more", o.lease)
	return errors.Join(errs...)
}

// inFlight returns the maximum number of lines in flight. With -slow it is the work of about a
// second. A drain then takes little longer, and other processes get their share.
func (o options) inFlight() int {
	const most, least = 1024, 16
	if o.slow == 0 {
		return most
	}
	return int(min(most, max(least, time.Second/o.slow)))
}
