// Streams inspects, follows, feeds and repairs Redis Streams from a terminal: which streams exist,
// which groups lag, what is pending, what failed and why. It works on any stream and any dead-letter stream,
// whichever program wrote them.
//
//	streams ls 'orders*'                        existing streams
//	streams groups orders                       their groups and consumers
//	streams lag orders billing -watch           how far a group is behind
//	streams pending orders billing              pending entries, by age and by consumer
//	streams peek orders -n 3                    the last entries
//	streams tail orders -json                   the last entries, then new ones
//	streams produce orders '{"sku":"tea"}'      write entries, from arguments or standard input
//	streams schedule list reminders             entries to be written later
//	streams top                                 the graphs of an application as they run
//	streams dead list orders:dead -stage price  the dead letters of a stage
//	streams dead replay orders:dead -all        write them back to their streams
//	streams reset orders billing -to 2h -dry-run
//	streams doctor redis://host:6379            what the server is, and what to change
//	streams acl -user billing -read orders -group billing   the least rights that a program needs
//	streams acl -user shop -client orders       … or that a client, a service or a hub needs
//
// The server is -url, else $REDIS_URL, else redis://localhost:6379. "streams help COMMAND"
// describes a command. Flags may stand before and after its arguments.
//
// Commands that change nothing run at once. The others have -dry-run. Commands that may lose
// something (dead drop, trim, reset) show what they will touch and ask, unless -yes is set, and
// touch nothing else. Replaying and dropping require a filter or -all. A reset is refused while the
// group is being read, or may be: a server before Redis 7.2 does not report it.
//
// Write IDs in full (1732360000000-0) and durations with a unit (90m); a bare number is refused. A
// time without a zone is local. Times are shown local and in UTC, in JSON only in UTC.
//
// Names, errors and payloads come from other programs. So control characters, invalid UTF-8 and
// invisible runes are shown as Go writes them (\n, \x1b, \u202e), and cannot control the terminal.
// Only peek, tail, dead show and schedule list -fields print payloads. With -json each line is one JSON object.
//
// On a server with ACLs these rights suffice, in addition to the keys:
//
//	look:   +ping +time +scan +exists +xlen +xrange +xrevrange +xread +xpending +xinfo
//	change: +eval +type +xadd +xdel +xack +xclaim +xgroup +xtrim +watch +unwatch +multi +exec
//
// Command top also needs +get and +zrevrange, see acl -top. Commands produce, tail -group and schedule
// need the rights that acl -write, -read and -write -later print.
//
// The roles of acl are those of package gateways: -service TOPIC, -client TOPIC and -hub HUB. Clients
// with a user each can't read the requests of others, nor their replies. A client uses mailboxes
// below its user's name, see gateways.ClientConfig.User.
//
// Exit codes: 0 it worked; 1 it failed; 2 the command line is wrong; 3 it was refused, not
// confirmed, or more than -max; 130 it was interrupted. Of doctor: 3 the worst finding is a warning,
// 4 it is a problem.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9/logging"
)

func main() {
	logging.Disable() // go-redis' own log, which repeats our errors
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second Ctrl-C is not caught: it ends the process at once
	code := run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr, os.Getenv, time.Local})
	stop()
	os.Exit(code)
}

// stdio is the environment of a command.
type stdio struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string
	zone     *time.Location // of times that are given without one, and for output
}
