package main

import (
	"context"
	"embed"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/gateways/sse"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

const (
	topic    = "notify"
	everyone = "everyone" // the receiver of a note for all users
)

// Note is one notification.
type Note struct {
	To    string    `json:"to"`   // a user, or everyone
	Kind  string    `json:"kind"` // info, success or warning
	Title string    `json:"title"`
	Text  string    `json:"text"`
	At    time.Time `json:"at"`
}

func (n Note) wrong() string {
	switch {
	case !isName(n.To):
		return "to is a name of up to 20 letters and digits"
	case n.Kind != "info" && n.Kind != "success" && n.Kind != "warning":
		return "kind is info, success or warning"
	case strings.TrimSpace(n.Title) == "" || utf8.RuneCountInString(n.Title) > 80:
		return "title is a line of up to 80 letters"
	case utf8.RuneCountInString(n.Text) > 280:
		return "text is up to 280 letters"
	}
	return ""
}

func isName(s string) bool {
	return s != "" && len(s) <= 20 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// userOf identifies the user of a browser. In this example the page names it. A real program takes
// the user from a session.
func userOf(r *http.Request) (gateways.Identity, error) {
	user := r.URL.Query().Get("user")
	if !isName(user) {
		return gateways.Identity{}, gateways.Errorf(gateways.CodeUnauthorized, "user missing, add ?user=ann")
	}
	return gateways.Identity{User: user}, nil
}

// feedOf returns the feed of a browser: the notes for its user, and those for everyone.
func feedOf(_ *http.Request, who gateways.Identity) (sse.Feed, error) {
	return sse.Feed{Key: events.Key(topic), Topics: []string{who.User, everyone}}, nil
}

// ticker publishes a note for everyone at intervals.
func ticker(every time.Duration, publish func(context.Context, Note) error, log *slog.Logger) *flow.Graph {
	news := []Note{
		{Kind: "info", Title: "Nightly report", Text: "The numbers of yesterday are in."},
		{Kind: "success", Title: "Deployed", Text: "Version 2.4 runs everywhere."},
		{Kind: "info", Title: "New here", Text: "Three people joined this hour."},
		{Kind: "warning", Title: "Disk at 80 %", Text: "db-2 has room for about nine days."},
	}
	n := 0
	ticks := source.Every(every, func(at time.Time) Note {
		note := news[n%len(news)]
		n++
		note.To, note.At = everyone, at
		return note
	}, flow.Name("ticks"))
	return flow.New("ticker", flow.To(ticks, sink.Func(publish, flow.Name("publish"))), flow.Log(log))
}

//go:embed page
var page embed.FS

// routes serves the page, its events, and an endpoint that publishes notes.
func routes(feed http.Handler, publish func(context.Context, Note) error, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /", cli.Page(page))
	mux.Handle("GET /events", feed)
	mux.HandleFunc("POST /notes", func(w http.ResponseWriter, r *http.Request) {
		var n Note
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&n); err != nil {
			http.Error(w, "that is no note", http.StatusBadRequest)
			return
		}
		if wrong := n.wrong(); wrong != "" {
			http.Error(w, wrong, http.StatusBadRequest)
			return
		}
		n.At = time.Now()
		if err := publish(r.Context(), n); err != nil {
			log.Warn("a note was not published", "error", err)
			http.Error(w, "try again later", http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
	return mux
}
