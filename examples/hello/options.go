package main

import "github.com/streamerson/streamerson-go/examples/internal/cli"

const usage = `Hello answers http://localhost:3000/ with {"ok":"received message!"}: a server writes an event to a
Redis stream, and a processor answers it.

Usage: hello [flags]

REDIS_URL, such as redis://localhost:6379, names the server. Without it a private redis-server is started if there is one
on PATH, and else an in-process one; neither outlives this program, and no other process can share it.

In two or more terminals:
  REDIS_URL=redis://localhost:6379 hello -role processor
  REDIS_URL=redis://localhost:6379 hello -role server

The first Ctrl-C answers open requests and ends, the second ends at once.
`

// parse reads the command line, and exits with status 2 if it is wrong.
func parse() *cli.Line {
	o := cli.NewLine("localhost:3000", "processor", "server")
	cli.Parse(usage, 0, o.Check)
	return o
}
