package main

import "github.com/streamerson/streamerson-go/examples/internal/cli"

const usage = `Chat serves chat rooms: open the printed address in two browser windows.

Usage: chat [flags]

REDIS_URL, such as redis://localhost:6379, names the server. Without it a private redis-server is started if there
is one on PATH, and else an in-process one; neither outlives this program.

The parts can be separate processes, any number of each, that share a server:
  chat -role worker
  chat -role gateway -addr localhost:3002
  chat -role gateway -addr localhost:3012

The first Ctrl-C finishes and ends, the second ends at once. The exit status is 0 after the first Ctrl-C,
1 when something fails, and 2 for a wrong command line.
`

// parse reads the command line, and exits with status 2 if it is wrong.
func parse() *cli.Line {
	o := cli.NewLine("localhost:3002", "worker", "gateway")
	cli.Parse(usage, 0, o.Check)
	return o
}
