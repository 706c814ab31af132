package main

import (
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
)

// options are the flags of the command line.
type options struct {
	*cli.Line
	shards int
	seed   uint64
	round  time.Duration
}

const usage = `Game serves an arena for a few players: open the printed address in two browser windows.

Usage: game [flags]

REDIS_URL, such as redis://localhost:6379, names the server. Without it a private redis-server is started if there
is one on PATH, and else an in-process one; neither outlives this program.

The parts can be separate processes that share a server: one world, and any number of gateways. A second
world waits, and takes over when the first one ends.
  game -role world
  game -role gateway -addr localhost:3003
  game -role gateway -addr localhost:3004

The first Ctrl-C finishes and ends, the second ends at once. The exit status is 0 after the first Ctrl-C,
1 when something fails, and 2 for a wrong command line.
`

// parse reads the command line, and exits with status 2 if it is wrong.
func parse() options {
	o := options{Line: cli.NewLine("localhost:3003", "world", "gateway")}
	flag.IntVar(&o.shards, "shards", 2, "`number` of shards that the world's rooms are spread over, from 1 to 16")
	flag.Uint64Var(&o.seed, "seed", 1, "`seed` that the arenas are generated from")
	flag.DurationVar(&o.round, "round", 75*time.Second, "`time` that a round lasts, from 5s to 1h")
	cli.Parse(usage, 0, func() error { return o.check() }, o.Check)
	return o
}

func (o options) check() error {
	var errs []error
	if o.shards < 1 || o.shards > 16 {
		errs = append(errs, fmt.Errorf("-shards %d: give 1 to 16", o.shards))
	}
	if o.round < 5*time.Second || o.round > time.Hour {
		errs = append(errs, fmt.Errorf("-round %v: give 5s to 1h", o.round))
	}
	return errors.Join(errs...)
}
