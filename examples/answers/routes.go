package main

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/durable"
)

// Question is what a page asks.
type Question struct{ Text string }

//go:embed page
var page embed.FS

const longest = 300 // bytes of a question

// routes returns the page and the answers, under one URL each.
func routes(ask func(context.Context, string, Question) error, replies *durable.Replies) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /answers", func(w http.ResponseWriter, r *http.Request) {
		var q Question
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&q)
		if q.Text = strings.TrimSpace(q.Text); err != nil || q.Text == "" || len(q.Text) > longest {
			http.Error(w, "ask a question of up to 300 bytes", http.StatusBadRequest)
			return
		}
		id := named(q.Text)
		if err := ask(r.Context(), id, q); err != nil {
			slog.Error("ask", "error", err)
			status, text := http.StatusServiceUnavailable, "no answers now: try again"
			if errors.Is(err, gateways.ErrNoService) {
				text = "no service is running: start one"
			}
			http.Error(w, text, status)
			return
		}
		w.Header().Set("Location", "/answers/"+id)
		write(w, http.StatusAccepted, map[string]string{"id": id})
	})
	mux.HandleFunc("GET /answers", func(w http.ResponseWriter, r *http.Request) {
		list, err := replies.Recent(r.Context(), 12)
		if err != nil {
			http.Error(w, "no list now: try again", http.StatusServiceUnavailable)
			return
		}
		type row struct {
			ID    string        `json:"id"`
			State durable.State `json:"state"`
			Words int64         `json:"words"`
			Begun time.Time     `json:"begun"`
		}
		rows := make([]row, len(list))
		for i, a := range list {
			rows[i] = row{a.ID, a.State, a.Values, a.Created}
		}
		write(w, http.StatusOK, rows)
	})
	mux.Handle("/answers/{id}", replies.Handler(durable.HTTPConfig{}))
	mux.Handle("/streams/{id...}", replies.Protocol(durable.HTTPConfig{})) // for clients of Durable Streams
	// GET / would conflict with the patterns above.
	mux.Handle("/", cli.Page(page))
	return cli.Secure(http.NewCrossOriginProtection().Handler(mux))
}

// named returns an ID for an answer that people can read.
func named(question string) string {
	words := strings.FieldsFunc(strings.ToLower(question), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	return strings.Join(append(words[:min(len(words), 8)], strings.ToLower(rand.Text()[:4])), "-")
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have disconnected
}
