// Game is a small arena for a browser: ships collect sparks, and strike them out of each other. It
// shows a world that a server moves twenty times a second: what sockets say is partitioned by room
// and merged with a clock, a stage has the worlds as its state, and what it shows goes to the
// sockets of the room.
//
//	go run ./examples/game       # then open the page in two windows; needs nothing installed
//	go run ./examples/game -h    # all flags
//
// One process has the world, that of -role world; any number of others have the sockets. When the
// world's process ends the others stay: a world that stands by, or is started again, has no
// players, tells the pages so, and they join it with their names. Their scores are gone.
//
//	REDIS_URL=redis://localhost:6379 go run ./examples/game -role world
//	REDIS_URL=redis://localhost:6379 go run ./examples/game -role gateway -addr localhost:3003
//	REDIS_URL=redis://localhost:6379 go run ./examples/game -role gateway -addr localhost:3004
package main

import (
	"context"
	"log/slog"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
)

func main() {
	o := parse()
	cli.Main("game", func(ctx context.Context, log *slog.Logger) error { return run(ctx, o, log) })
}
