package cli

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Line is the command line of an example with workers and gateways, which may be separate
// processes.
type Line struct {
	addr  string
	role  string
	flags *flag.FlagSet
	roles []string
}

// gateway is the part that serves the page.
const gateway = "gateway"

// NewLine returns a command line with the flags addr, which has a default, and role: all, the
// worker's, or gateway. The help prints usage before the flags.
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

// Flags returns the flag set, to add flags before Parse.
func (l *Line) Flags() *flag.FlagSet { return l.flags }

// Works and Serves report which parts run in this process.
func (l *Line) Works() bool  { return l.role != gateway }
func (l *Line) Serves() bool { return l.role == "all" || l.role == gateway }

// Address returns the address to serve the page on; "" if this process does not serve it.
func (l *Line) Address() string {
	if l.Serves() {
		return l.addr
	}
	return ""
}

// Parse reads and checks the command line. check returns the mistakes in other flags. After help,
// Parse ends the process with status 0. After mistakes it prints all of them, and ends the process
// with status 2.
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
