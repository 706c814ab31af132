package main

import (
	"embed"
	"log/slog"
	"net/http"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/gateways/ws"
)

//go:embed page
var files embed.FS

// site is what browsers get: the page, logins, and sockets.
type site struct {
	*http.ServeMux
	hub *ws.Hub
}

func newSite(rdb redis.UniversalClient, log *slog.Logger) site {
	people := newAccounts(rdb)
	s := site{http.NewServeMux(), ws.NewHub(rdb, hub, ws.HubConfig{
		Authenticate: people.authenticate,
		Authorize:    people.authorize,
		Presence:     true,
		Limits:       ws.Limits{MaxMessage: 16 << 10, Rate: 20, MaxRooms: 20},
		Log:          log,
	})}
	s.Handle("GET /ws", s.hub)
	s.HandleFunc("GET /me", people.me)
	s.HandleFunc("POST /login", people.login)
	s.HandleFunc("POST /logout", people.logout)
	s.Handle("GET /streamerson.js", ws.Script())
	s.Handle("GET /", cli.Page(files))
	return s
}
