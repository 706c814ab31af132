package main

import (
	"context"
	"embed"
	"log/slog"
	"net/http"
	"regexp"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/ws"
)

// hub is the name of the hub, and of all keys.
const hub = "arena"

//go:embed page
var files embed.FS

// newHub returns the hub of the players' sockets. There are no users: each session is a player.
func newHub(rdb redis.UniversalClient, log *slog.Logger) *ws.Hub {
	return ws.NewHub(rdb, hub, ws.HubConfig{
		Authorize: mayPlay,
		Presence:  true,
		Limits:    ws.Limits{MaxRooms: 1, MaxMessage: 4 << 10},
		Queue:     64,
		Slow:      ws.DropOldest,               // late snapshots are worthless
		Tuning:    ws.Tuning{DedupeWindow: -1}, // likewise: messages are not repeated
		Log:       log,
	})
}

var roomPattern = regexp.MustCompile(`^[a-z0-9-]{1,24}$`)

func mayPlay(_ context.Context, _ gateways.Identity, _ ws.Action, room string) error {
	if !roomPattern.MatchString(room) {
		return gateways.Errorf(gateways.CodeForbidden, "a room name has 1 to 24 lower-case letters, digits and -")
	}
	return nil
}

// handler serves the page, and its sockets.
func handler(h *ws.Hub) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /ws", h)
	mux.Handle("GET /streamerson.js", ws.Script())
	mux.Handle("GET /", cli.Page(files))
	return mux
}
