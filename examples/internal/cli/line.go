package cli

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Line is the command line of an example whose parts, workers and gateways, may be processes of their own.
type Line struct {
	addr  string
	role  string
	flags *flag.FlagSet
	roles []string
}

// gateway is the part that serves the page.
const gateway = "gateway"

// NewLine is a command line with the flags addr, which has a default, and role: all, the worker's,
// or gateway. The usage is what help says before the flags.
func NewLine(name, usage, addr, worker string) *Line {
	l := &Line{flags: flag.NewFlagSet(name, flag.ContinueOnError), roles: []string{"all", worker, gateway}}
	l.flags.StringVar(&l.addr, "addr", addr, "`address` to serve the page on; port 0 is any that is free")
	l.flags.StringVar(&l.role, "role", "all", "`part` to run: "+strings.Join(l.roles, ", "))
	l.flags.Usage = func() {
		fmt.Fprint(l.flags.Output(), usage)
		l.flags.PrintDefaults()
	}
	return l
}

// Flags is where more flags go, before Parse.
func (l *Line) Flags() *flag.FlagSet { return l.flags }

// Works and Serves report which parts are to run in this process.
func (l *Line) Works() bool  { return l.role != gateway }
func (l *Line) Serves() bool { return l.role == "all" || l.role == gateway }

// Address is where the page is to be served; "" if it is not.
func (l *Line) Address() string {
	if l.Serves() {
		return l.addr
	}
	return ""
}

// Parse reads the command line, and checks it, with what check says of other flags. It ends the
// process when help is asked for, with 0, and with 2 when something is wrong, which it tells all at
// once.
func (l *Line) Parse(check ...func() error) {
	err := l.flags.Parse(os.Args[1:])
	if err == nil {
		err = l.mistakes(check)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case err != nil:
		fmt.Fprintf(os.Stderr, "%s: %v\n(%[1]s -h lists the flags)\n", l.flags.Name(), err)
		os.Exit(2)
	}
}

func (l *Line) mistakes(check []func() error) error {
	var errs []error
	if l.flags.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q", l.flags.Arg(0)))
	}
	if !slices.Contains(l.roles, l.role) {
		errs = append(errs, fmt.Errorf("-role %s: give %s", l.role, strings.Join(l.roles, ", ")))
	}
	if l.role != "all" && os.Getenv("REDIS_URL") == "" {
		errs = append(
			errs,
			fmt.Errorf("-role %s needs a server that the processes share: set REDIS_URL, for all of them", l.role),
		)
	}
	for _, c := range check {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}
