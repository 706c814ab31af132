package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
)

// options are the command line.
type options struct {
	*cli.Line
	shards int
	seed   uint64
	round  time.Duration
}

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

// parse reads the command line, and ends the program if it can't.
func parse() options {
	o := options{Line: cli.NewLine("game", usage, "localhost:3003", "world")}
	o.Flags().IntVar(&o.shards, "shards", 2, "`number` of shards that the world's rooms are spread over, from 1 to 16")
	o.Flags().Uint64Var(&o.seed, "seed", 1, "`number` that the arenas are made of")
	o.Flags().DurationVar(&o.round, "round", 75*time.Second, "`time` that a round lasts, from 5s to 1h")
	o.Parse(func() error { return o.check() })
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
