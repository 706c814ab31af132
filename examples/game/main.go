// Game is a small arena in a browser: ships collect sparks, and ram each other to release them. It
// shows a world that a server updates twenty times a second. Messages of sockets are partitioned by
// room and merged with a clock. A stage holds the worlds as its state, and its output goes to the
// sockets of each room.
//
//	go run ./examples/game       # then open the page in two windows; needs nothing installed
//	go run ./examples/game -h    # all flags
//
// One process has the world (-role world); any number of others have the sockets. When the world's
// process ends, the others continue. The standby or restarted world has no players. It notifies the
// pages, which join again with their names. The scores are lost.
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
