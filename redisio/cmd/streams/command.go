package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/term"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
)

// Exit codes.
const (
	exitFine        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3
	exitWarnings    = 3 // of doctor
	exitProblems    = 4 // of doctor
	exitInterrupted = 130
)

// command is one subcommand. flags declares its flags and returns the function that runs it.
type command struct {
	name     string // as typed: "dead list"
	args     string // for people: "KEY [GROUP]"
	min, max int    // how many arguments
	short    string
	long     string
	examples []string
	offline  bool // needs no server
	target   bool // its argument, if any, is the server's URL
	flags    func(*flag.FlagSet) func(*call) error
}

// commands returns all commands, in the order of the help.
func commands() []command {
	return []command{lsCommand, groupsCommand, topCommand, lagCommand, pendingCommand, peekCommand,
		tailCommand, produceCommand, scheduleListCommand, scheduleCancelCommand,
		deadListCommand, deadShowCommand, deadReplayCommand, deadDropCommand,
		resetCommand, reapCommand, trimCommand, aclCommand, doctorCommand}
}

// call is one run of a command.
type call struct {
	ctx  context.Context
	now  time.Time
	rdb  redis.UniversalClient
	args []string
	out  *printer
	err  io.Writer
	in   *bufio.Reader
	std  stdio // as the process has them

	terminal bool // in is a terminal
}

// locked is a writer for several goroutines: events of readers are noted by theirs.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// note prints a message for people that is not part of the result.
func (c *call) note(format string, args ...any) {
	fmt.Fprintln(c.err, escapeMessage(fmt.Sprintf(format, args...)))
}

// usageError is a mistake in the command line.
type usageError string

func (e usageError) Error() string { return string(e) }

func usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// errRefused wraps what was not done because of the current state.
var errRefused = errors.New("refused")

// globals are the flags of every command.
type globals struct {
	url  string
	json bool
}

func (g *globals) declare(fs *flag.FlagSet) {
	fs.StringVar(&g.url, "url", g.url, "the server's `URL` (default $REDIS_URL, else redis://localhost:6379)")
	fs.BoolVar(&g.json, "json", g.json, "print one JSON object a line, for machines")
}

// run runs one command line and returns the exit code.
func run(ctx context.Context, args []string, std stdio) int {
	var g globals
	root := flag.NewFlagSet("streams", flag.ContinueOnError)
	root.SetOutput(io.Discard)
	g.declare(root)
	switch err := root.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		overview(std.out)
		return exitFine
	case err != nil:
		return complain(std, "streams", usageError(err.Error()))
	}
	args = root.Args()
	if len(args) > 0 && args[0] == "help" {
		if len(args) == 1 {
			overview(std.out)
			return exitFine
		}
		args = append(args[1:len(args):len(args)], "-h")
	}
	if len(args) == 0 {
		overview(std.err)
		return exitUsage
	}
	cmd, rest, err := find(args)
	if err != nil {
		return complain(std, "streams", err)
	}
	name := "streams " + cmd.name
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	g.declare(fs)
	do := cmd.flags(fs)
	pos, err := parse(fs, rest)
	switch {
	case errors.Is(err, flag.ErrHelp):
		cmd.help(std.out, fs)
		return exitFine
	case err != nil:
		return complain(std, name, usageError(err.Error()))
	case cmd.target && len(pos) > cmd.max:
		return complain(std, name, usagef("it takes %s, not %d arguments", cmd.args, len(pos))) // they have passwords
	case len(pos) < cmd.min || len(pos) > cmd.max:
		return complain(std, name, usagef("it takes %s, not %q", cmp.Or(cmd.args, "no arguments"), pos))
	}
	return cmd.do(ctx, do, pos, g, std)
}

// do runs a command with its arguments.
func (cmd command) do(ctx context.Context, do func(*call) error, pos []string, g globals, std stdio) int {
	var err error
	name := "streams " + cmd.name
	c := &call{
		ctx:  ctx,
		now:  time.Now(),
		args: pos,
		out:  newPrinter(std.out, g.json, std.zone),
		err:  &locked{w: std.err},
		in:   bufio.NewReader(std.in),
		std:  std,

		terminal: isTerminal(std.in),
	}
	if cmd.target && len(pos) > 0 {
		if g.url != "" && g.url != pos[0] {
			return complain(std, name, usagef("the argument and -url name two servers: name one")) // not passwords
		}
		g.url = pos[0]
	}
	if !cmd.offline {
		if c.rdb, err = connect(ctx, cmp.Or(g.url, std.env("REDIS_URL"), "redis://localhost:6379")); err != nil {
			return complain(std, name, fmt.Errorf("%w\nset the server with -url or REDIS_URL", err))
		}
		defer c.rdb.Close()
	}
	err = do(c)
	if flushErr := c.out.flush(); err == nil {
		err = flushErr
	}
	if err != nil && ctx.Err() != nil {
		fmt.Fprintf(std.err, "%s: interrupted\n", name)
		return exitInterrupted
	}
	return complain(std, name, err)
}

// connectWithin bounds the wait for a server that accepts connections and does not answer.
const connectWithin = 15 * time.Second

func connect(ctx context.Context, url string) (redis.UniversalClient, error) {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	return redisio.Connect(ctx, url, redisio.ConnectOptions{})
}

func isTerminal(in io.Reader) bool {
	f, ok := in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// find takes a command's name, of one or two words, from the front of args.
func find(args []string) (command, []string, error) {
	var family []string
	for _, c := range commands() {
		words := strings.Fields(c.name)
		if args[0] != words[0] {
			continue
		}
		if len(words) == 1 {
			return c, args[1:], nil
		}
		if len(args) > 1 && args[1] == words[1] {
			return c, args[2:], nil
		}
		family = append(family, words[1])
	}
	if family != nil {
		return command{}, nil, usagef("%s what? %s", args[0], strings.Join(family, ", "))
	}
	return command{}, nil, usagef("unknown command %q", args[0])
}

// parse accepts flags before, between and after the arguments; after "--" all are arguments.
func parse(fs *flag.FlagSet, args []string) (pos []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		rest := fs.Args()
		if used := len(args) - len(rest); used > 0 && args[used-1] == "--" {
			return append(pos, rest...), nil
		}
		if len(rest) == 0 {
			return pos, nil
		}
		pos, args = append(pos, rest[0]), rest[1:]
	}
}

// complain prints an error and returns the exit code.
func complain(std stdio, name string, err error) int {
	if err == nil {
		return exitFine
	}
	lines := strings.Split(err.Error(), "\n")
	for i := range lines {
		lines[i] = escapeMessage(strings.TrimPrefix(lines[i], "redisio: "))
	}
	fmt.Fprintf(std.err, "%s: %s\n", name, strings.Join(lines, "\n"))
	var live *admin.LiveConsumersError
	switch usage := usageError(""); {
	case errors.As(err, &usage):
		if name == "streams" {
			fmt.Fprintln(std.err, "streams -h lists the commands")
		} else {
			fmt.Fprintf(std.err, "run %s -h for help\n", name)
		}
		return exitUsage
	case errors.Is(err, errRefused), errors.As(err, &live):
		return exitRefused
	case errors.Is(err, errWarnings):
		return exitWarnings
	case errors.Is(err, errProblems):
		return exitProblems
	}
	return exitFailed
}

func overview(w io.Writer) {
	fmt.Fprintln(
		w,
		"Usage: streams [-url URL] [-json] COMMAND …\n\nInspects, follows, feeds and repairs Redis Streams and "+
			"their dead letters.\n\nCommands:",
	)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-15s %s\n", c.name, c.short)
	}
	fmt.Fprintln(w, "\nstreams help COMMAND (or streams COMMAND -h) describes one command.\n"+
		"The server is -url, else $REDIS_URL, else redis://localhost:6379.\n"+
		"Exit codes: 0 success, 1 failure, 2 invalid command line, 3 refused, not confirmed or over -max, 130 "+
		"interrupted.\nOf doctor: 3 the worst finding is a warning, 4 it is a problem.")
}

func (c command) help(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprintf(w, "Usage: streams %s %s\n\n%s\n\nExamples:\n", c.name, strings.TrimSpace(c.args+" [flags]"), c.long)
	for _, e := range c.examples {
		fmt.Fprintln(w, "  streams "+e)
	}
	fmt.Fprintln(w, "\nFlags:")
	fs.SetOutput(w)
	fs.PrintDefaults()
}

// confirm asks a question. Only a yes confirms.
func (c *call) confirm(question string) error {
	fmt.Fprintf(c.err, "%s [y/N] ", escapeMessage(question))
	answer, err := c.in.ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	if err != nil {
		fmt.Fprintln(c.err)
	}
	return fmt.Errorf("%w: not confirmed: -yes skips the question", errRefused)
}
