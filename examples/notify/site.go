package main

import (
	"context"
	"embed"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
)

//go:embed page
var page embed.FS

// site serves the page and what it asks for.
type site struct {
	rdb       redis.UniversalClient
	feed      http.Handler
	publish   func(context.Context, Note) error
	inbox     *Inbox
	people    People
	providers []*Provider
	log       *slog.Logger
}

func (s *site) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /", cli.Page(page))
	mux.Handle("GET /events", s.feed)
	mux.HandleFunc("POST /notes", s.postNote)
	mux.HandleFunc("GET /inbox", s.forUser(s.getInbox))
	mux.HandleFunc("POST /read", s.forUser(s.postRead))
	mux.HandleFunc("GET /preferences", s.forUser(s.getPreferences))
	mux.HandleFunc("PUT /preferences", s.forUser(s.putPreferences))
	mux.HandleFunc("GET /providers", s.getProviders)
	mux.HandleFunc("PUT /providers/{name}", s.putProvider)
	return cli.Secure(mux)
}

// request is what a handler for a user gets. It returns what to answer, what is wrong with the
// request, or an error.
type request struct {
	user string
	body *json.Decoder
}

func (s *site) forUser(do func(context.Context, request) (v any, wrong string, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, err := userOf(r)
		if err != nil {
			http.Error(w, "user missing, add ?user=ann", http.StatusUnauthorized)
			return
		}
		body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
		v, wrong, err := do(r.Context(), request{who.User, body})
		s.answer(w, v, wrong, err)
	}
}

func (s *site) getInbox(ctx context.Context, r request) (any, string, error) {
	if err := s.people.Seen(ctx, r.user); err != nil {
		return nil, "", err
	}
	c, err := s.inbox.List(ctx, r.user)
	return c, "", err
}

func (s *site) postRead(ctx context.Context, r request) (any, string, error) {
	var ids []string
	if r.body.Decode(&ids) != nil || len(ids) == 0 || len(ids) > inboxMost {
		return nil, "the body is a list of up to 200 IDs", nil
	}
	return ids, "", s.inbox.Read(ctx, r.user, ids)
}

func (s *site) getPreferences(ctx context.Context, r request) (any, string, error) {
	wanted, err := s.people.Preferences(ctx, r.user)
	return wanted, "", err
}

func (s *site) putPreferences(ctx context.Context, r request) (any, string, error) {
	var wanted Preferences
	if r.body.Decode(&wanted) != nil {
		return nil, "the body has kinds, with a list of channels each, and quiet", nil
	}
	if wrong := wanted.wrong(); wrong != "" {
		return nil, wrong, nil
	}
	return wanted, "", s.people.Prefer(ctx, r.user, wanted)
}

func (s *site) answer(w http.ResponseWriter, v any, wrong string, err error) {
	switch {
	case wrong != "":
		http.Error(w, wrong, http.StatusBadRequest)
	case err != nil:
		s.log.Warn("a request failed", "error", err)
		http.Error(w, "try again later", http.StatusServiceUnavailable)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // fails if the browser is gone
	}
}

func (s *site) postNote(w http.ResponseWriter, r *http.Request) {
	var n Note
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&n); err != nil {
		http.Error(w, "that is no note", http.StatusBadRequest)
		return
	}
	if wrong := n.wrong(); wrong != "" {
		http.Error(w, wrong, http.StatusBadRequest)
		return
	}
	n = n.stamped(time.Now())
	if err := s.publish(r.Context(), n); err != nil {
		s.answer(w, nil, "", err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(n)
}

// getProviders answers with the state of the providers and the delivery log.
func (s *site) getProviders(w http.ResponseWriter, r *http.Request) {
	var panel struct {
		Providers []Report `json:"providers"`
		Log       []string `json:"log"`
	}
	for _, p := range s.providers {
		report, err := p.Report(r.Context())
		if err != nil {
			s.answer(w, nil, "", err)
			return
		}
		panel.Providers = append(panel.Providers, report)
	}
	var err error
	panel.Log, err = s.rdb.LRange(r.Context(), key("log"), 0, -1).Result()
	s.answer(w, panel, "", err)
}

// putProvider sets the mode of a provider.
func (s *site) putProvider(w http.ResponseWriter, r *http.Request) {
	var mode string
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 100)).Decode(&mode)
	if _, known := perSecond[mode]; err != nil || !known {
		s.answer(w, nil, `the body is "ok", "failing" or "limited"`, nil)
		return
	}
	i := slices.IndexFunc(s.providers, func(p *Provider) bool { return p.name == r.PathValue("name") })
	if i < 0 {
		http.Error(w, "no such provider", http.StatusNotFound)
		return
	}
	s.answer(w, mode, "", s.providers[i].Set(r.Context(), mode))
}
