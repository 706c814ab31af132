package main

import "github.com/streamerson/streamerson-go/examples/internal/cli"

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

// parse reads the command line, and ends the program if it can't.
func parse() *cli.Line {
	o := cli.NewLine("chat", usage, "localhost:3002", "worker")
	o.Parse()
	return o
}
