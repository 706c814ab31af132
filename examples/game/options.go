package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// options are the command line.
type options struct {
	addr   string
	role   string
	shards int
	seed   uint64
	round  time.Duration
}

var roles = []string{"all", "world", "gateway"}

func (o options) world() bool   { return o.role != "gateway" }
func (o options) gateway() bool { return o.role != "world" }

const usage = `Game serves an arena for a few players in a browser: open the page it tells of in two windows.

Usage: game [flags]

REDIS_URL (as redis://localhost:6379) names the server. Without it a private redis-server is started if there
is one on PATH, and else an in-process one; neither outlives this program.

The parts may be processes of their own, which meet on a server: one world, and any number of gateways. A second
world stands by, and takes over when the first one ends.
  game -role world
  game -role gateway -addr localhost:3003
  game -role gateway -addr localhost:3004

Ctrl-C ends it, a second one at once. The exit status is 0 after the first, 1 when something fails, 2 for a wrong command line.

Flags:
`

// parse reads the command line. The error says what is wrong with it, or is flag.ErrHelp.
func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("game", flag.ContinueOnError)
	f.StringVar(&o.addr, "addr", "localhost:3003", "`address` to serve the page on; port 0 is any that is free")
	f.StringVar(&o.role, "role", "all", "`part` to run: "+strings.Join(roles, ", "))
	f.IntVar(&o.shards, "shards", 2, "`number` of shards that the world's rooms are spread over, from 1 to 16")
	f.Uint64Var(&o.seed, "seed", 1, "`number` that the arenas are made of")
	f.DurationVar(&o.round, "round", 75*time.Second, "`time` that a round lasts, from 5s to 1h")
	f.Usage = func() {
		fmt.Fprint(f.Output(), usage)
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	var errs []error
	if f.NArg() > 0 {
		errs = append(errs, fmt.Errorf("%q is no flag", f.Arg(0)))
	}
	if !slices.Contains(roles, o.role) {
		errs = append(errs, fmt.Errorf("-role %s: give %s", o.role, strings.Join(roles, ", ")))
	}
	if o.role != "all" && os.Getenv("REDIS_URL") == "" {
		errs = append(errs, fmt.Errorf("-role %s needs a server that the processes share: set REDIS_URL, for all of them", o.role))
	}
	if o.shards < 1 || o.shards > 16 {
		errs = append(errs, fmt.Errorf("-shards %d: give 1 to 16", o.shards))
	}
	if o.round < 5*time.Second || o.round > time.Hour {
		errs = append(errs, fmt.Errorf("-round %v: give 5s to 1h", o.round))
	}
	return o, errors.Join(errs...)
}
