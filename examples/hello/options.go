package main

import (
	"flag"
	"fmt"
	"os"
)

// options are the flags of the command line.
type options struct {
	role string
	addr string
}

func (o options) processes() bool { return o.role != "server" }
func (o options) serves() bool    { return o.role != "processor" }

const usage = `Hello answers http://localhost:3000/ with {"ok":"received message!"}: a server writes an event to a
Redis stream, and a processor answers it.

Usage: hello [flags]

REDIS_URL, such as redis://localhost:6379, names the server. Without it a private redis-server is started if there is one
on PATH, and else an in-process one; neither outlives this program, and no other process can share it.

In two or more terminals:
  REDIS_URL=redis://localhost:6379 hello -role processor
  REDIS_URL=redis://localhost:6379 hello -role server

The first Ctrl-C answers open requests and ends, the second ends at once.

Flags:
`

// parse reads the command line, and exits with status 2 if it is wrong.
func parse() options {
	var o options
	flag.StringVar(&o.role, "role", "all", "`what` this process is: all, processor or server")
	flag.StringVar(&o.addr, "addr", "localhost:3000", "`address` the server listens on")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	wrong := ""
	switch {
	case flag.NArg() > 0:
		wrong = fmt.Sprintf("unexpected argument %q", flag.Arg(0))
	case o.role != "all" && o.role != "processor" && o.role != "server":
		wrong = fmt.Sprintf("-role %q: choose all, processor or server", o.role)
	case o.role != "all" && os.Getenv("REDIS_URL") == "":
		wrong = fmt.Sprintf("-role %s needs a shared Redis: set REDIS_URL for all processes", o.role)
	}
	if wrong != "" {
		fmt.Fprintf(os.Stderr, "hello: %s (hello -h lists the flags)\n", wrong)
		os.Exit(2)
	}
	return o
}
