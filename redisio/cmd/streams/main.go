// Streams looks after Redis Streams from a terminal: what there is, who lags, what is pending since when, what died and
// why. It works on any stream and on any stream of dead letters, whoever wrote them.
//
//	streams ls 'orders*'                        the streams there are
//	streams groups orders                       their groups and consumers
//	streams lag orders billing -watch           how far a group is behind
//	streams pending orders billing              what is delivered and not settled, by age and by consumer
//	streams peek orders -n 3 -follow            the last entries, and those to come
//	streams dead list orders:dead -stage price  what was given up
//	streams dead replay orders:dead -all        … and gets another life
//	streams reset orders billing -to 2h -dry-run
//	streams acl -user billing -read orders -group billing   the least rights that a program needs
//
// The server is that of -url, else of $REDIS_URL, else redis://localhost:6379. "streams help COMMAND" tells all about a
// command; flags may stand before and behind its arguments.
//
// What changes nothing on the server just runs. What does has -dry-run. What may lose something
// (dead drop, trim, reset) shows what it will touch and asks, unless -yes is set, and touches
// nothing else. Replaying and dropping want a filter, or -all. A reset is refused while the group
// is read, or may be: a server before Redis 7.2 does not tell.
//
// An ID is written whole (1732360000000-0) and a duration with its unit (90m); a bare number is
// refused. A time without a zone is local. Times are shown local and in UTC, but in JSON in UTC
// only.
//
// Names, errors and payloads come from whoever writes to the streams, so control characters,
// invalid UTF-8 and invisible runes are shown as Go writes them (\n, \x1b, \u202e): nothing reaches
// the terminal that it would act on. Payloads are shown by peek and dead show only. With -json each
// line is one JSON object, for machines.
//
// Rights that suffice on a server with ACLs, beside the keys, to look, and more to change what there is:
//
//	look:   +ping +time +scan +exists +xlen +xrange +xrevrange +xread +xpending +xinfo
//	change: +eval +type +xadd +xdel +xack +xclaim +xgroup +xtrim +watch +unwatch +multi +exec
//
// Exit codes: 0 it worked; 1 it failed; 2 the command line is wrong; 3 it was refused, not
// confirmed, or more than -max; 130 it was interrupted.
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
	logging.Disable() // go-redis' own, which repeats what our errors say
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second Ctrl-C is not caught: it ends the process at once
	code := run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr, os.Getenv, time.Local})
	stop()
	os.Exit(code)
}

// stdio is the process around a command.
type stdio struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string
	zone     *time.Location // of times that are given without one, and are shown
}
