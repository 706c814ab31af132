package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

const everyone = "everyone" // the receiver of a note for all users

// kinds are the kinds of notes.
var kinds = []string{"info", "success", "warning"}

// Note is one notification.
type Note struct {
	ID    string    `json:"id"`
	To    string    `json:"to"`   // a user, or everyone
	Kind  string    `json:"kind"` // info, success or warning
	Title string    `json:"title"`
	Text  string    `json:"text"`
	At    time.Time `json:"at"`
}

// stamped returns the note with an ID and the time. The ID is made once, when the note is accepted,
// so everything that is written twice later can be recognized.
func (n Note) stamped(at time.Time) Note {
	n.ID, n.At = rand.Text()[:12], at.UTC()
	return n
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
		note := news[n%len(news)].stamped(at)
		n++
		note.To = everyone
		return note
	}, flow.Name("ticks"))
	return flow.New("ticker", flow.To(ticks, sink.Func(publish, flow.Name("publish"))), flow.Log(log))
}
