package cli

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Parse reads the command line of an example that takes up to most arguments; -1 leaves them to
// check. The help prints usage
// before the flags. check returns the mistakes in them. Parse prints all mistakes, and ends the
// process with status 2.
func Parse(usage string, most int, check ...func() error) {
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage, "\nFlags:\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	var errs []error
	if most >= 0 && flag.NArg() > most {
		errs = append(errs, fmt.Errorf("unexpected argument %q", flag.Arg(most)))
	}
	for _, c := range check {
		errs = append(errs, c())
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n(%[1]s -h lists the flags)\n", filepath.Base(os.Args[0]), err)
		os.Exit(2)
	}
}

// Line is the command line of an example with workers and gateways, which may be separate
// processes.
type Line struct {
	addr  string
	role  string
	roles [3]string // all, the worker's, and that which serves the page
}

// NewLine returns a command line with the flags addr, which has a default, and role: all, worker or
// gateway.
func NewLine(addr, worker, gateway string) *Line {
	l := &Line{roles: [3]string{"all", worker, gateway}}
	flag.StringVar(&l.addr, "addr", addr, "`address` to serve the page on; port 0 is any that is free")
	flag.StringVar(&l.role, "role", "all", "`part` to run: "+l.choices())
	return l
}

func (l *Line) choices() string { return strings.Join(l.roles[:], ", ") }

// Works and Serves report which parts run in this process.
func (l *Line) Works() bool  { return l.role != l.roles[2] }
func (l *Line) Serves() bool { return l.role != l.roles[1] }

// Address returns the address to serve the page on.
func (l *Line) Address() string { return l.addr }

// Check returns the mistakes in the role.
func (l *Line) Check() error {
	if !slices.Contains(l.roles[:], l.role) {
		return fmt.Errorf("-role %s: give %s", l.role, l.choices())
	}
	if l.role != "all" && os.Getenv("REDIS_URL") == "" {
		return fmt.Errorf("-role %s needs a server that the processes share: set REDIS_URL, for all of them", l.role)
	}
	return nil
}
