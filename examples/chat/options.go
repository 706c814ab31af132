package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

// options are the command line.
type options struct {
	addr string
	role string
}

var roles = []string{"all", "worker", "gateway"}

func (o options) worker() bool  { return o.role != "gateway" }
func (o options) gateway() bool { return o.role != "worker" }

const usage = `Chat serves rooms for a browser: open the page it tells of in two windows.

Usage: chat [flags]

REDIS_URL (as redis://localhost:6379) names the server. Without it a private redis-server is started if there
is one on PATH, and else an in-process one; neither outlives this program.

The parts may be processes of their own, any number of each, which meet on a server:
  chat -role worker
  chat -role gateway -addr localhost:3002
  chat -role gateway -addr localhost:3012

Ctrl-C ends it, a second one at once. The exit status is 0 after the first, 1 when something fails, 2 for a wrong command line.

Flags:
`

// parse reads the command line. The error says what is wrong with it, or is flag.ErrHelp.
func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("chat", flag.ContinueOnError)
	f.StringVar(&o.addr, "addr", "localhost:3002", "`address` to serve the page on; port 0 is any that is free")
	f.StringVar(&o.role, "role", "all", "`part` to run: "+strings.Join(roles, ", "))
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
	return o, errors.Join(errs...)
}
