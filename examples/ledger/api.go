package main

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/gateways/projection"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/eventstore"
	"github.com/streamerson/streamerson-go/redisio/view"
)

//go:embed page
var page embed.FS

// api answers HTTP requests.
type api struct {
	bank  *bank
	views *views
	log   *slog.Logger
}

func routes(b *bank, v *views, log *slog.Logger) http.Handler {
	a := &api{b, v, log}
	mux := http.NewServeMux()
	mux.Handle("GET /", cli.Page(page))
	mux.HandleFunc("GET /accounts", a.list)
	mux.HandleFunc("POST /accounts", a.open)
	mux.HandleFunc("GET /accounts/{id}/statement", a.statement)
	mux.HandleFunc("POST /transfers", a.transfer)
	mux.HandleFunc("POST /projections/{name}/rebuild", a.rebuild)
	mux.HandleFunc("GET /live", a.live)
	return mux
}

func (a *api) list(w http.ResponseWriter, r *http.Request) {
	rows, err := a.views.all(r.Context())
	a.answer(w, http.StatusOK, rows, err)
}

func (a *api) statement(w http.ResponseWriter, r *http.Request) {
	lines, err := a.views.statement(r.Context(), r.PathValue("id"), 100)
	a.answer(w, http.StatusOK, lines, err)
}

func (a *api) open(w http.ResponseWriter, r *http.Request) {
	var q struct{ Owner string }
	err := decode(w, r, &q)
	q.Owner = strings.TrimSpace(q.Owner)
	id := strings.ToLower(strings.Join(strings.Fields(q.Owner), "-"))
	if err == nil && (id == "" || len(id) > 50) {
		err = errInvalid
	}
	if err == nil {
		err = a.bank.open(r.Context(), id, q.Owner)
	}
	a.answer(w, http.StatusCreated, map[string]string{"id": id}, err)
}

// transfer makes a transfer. With If-Match, which has the version of the account that pays, a
// conflict is answered with 409. Without it, the bank repeats the decision after a conflict.
func (a *api) transfer(w http.ResponseWriter, r *http.Request) {
	var t transfer
	err := decode(w, r, &t)
	if t.Expected = eventstore.Any; err == nil && r.Header.Get("If-Match") != "" {
		if t.Expected, err = redisio.ParseID(strings.Trim(r.Header.Get("If-Match"), `"`)); err != nil {
			err = errors.Join(errInvalid, err)
		}
	}
	if t.ID == "" {
		t.ID = rand.Text()
	}
	if err != nil {
		a.answer(w, 0, nil, err)
		return
	}
	result, err := a.bank.transfer(r.Context(), t)
	if err != nil {
		a.answer(w, 0, nil, err)
		return
	}
	status := http.StatusCreated
	if result.Repeated {
		status = http.StatusOK
	}
	w.Header().Set("ETag", strconv.Quote(result.Last[0].String()))
	a.answer(
		w,
		status,
		map[string]any{"id": t.ID, "version": result.Last[0].String(), "repeated": result.Repeated},
		nil,
	)
}

func (a *api) rebuild(w http.ResponseWriter, r *http.Request) {
	of, ok := map[string]*projection.Projection[Event]{
		"balances": a.views.balances, "statements": a.views.statements}[r.PathValue("name")]
	if !ok {
		a.answer(w, 0, nil, errNoAccount)
		return
	}
	build, err := of.Rebuild(r.Context())
	a.answer(w, http.StatusAccepted, map[string]view.Build{"build": build}, err)
}

// state is what the page shows.
type state struct {
	Accounts   []row               `json:"accounts"`
	Sum        int64               `json:"sum"` // of all accounts: always 0
	Balances   projection.Progress `json:"balances"`
	Statements projection.Progress `json:"statements"`
}

func (a *api) state(ctx context.Context) (s state, err error) {
	if s.Accounts, err = a.views.all(ctx); err != nil {
		return s, err
	}
	for _, r := range s.Accounts {
		s.Sum += r.Balance
	}
	if s.Balances, err = a.views.balances.Progress(ctx); err != nil {
		return s, err
	}
	s.Statements, err = a.views.statements.Progress(ctx)
	return s, err
}

// live sends the state as server-sent events, whenever it has changed.
func (a *api) live(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for last := ""; ; {
		if now, err := a.state(r.Context()); err == nil {
			text, err := json.Marshal(now)
			if err != nil {
				return
			}
			if string(text) != last {
				if _, err := w.Write([]byte("data: " + string(text) + "\n\n")); err != nil {
					return
				}
				if out.Flush() != nil {
					return
				}
				last = string(text)
			}
		}
		select {
		case <-look.C:
		case <-r.Context().Done():
			return
		}
	}
}

func decode(w http.ResponseWriter, r *http.Request, to any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return errors.Join(errInvalid, err)
	}
	return nil
}

// problem is the body of a failure (RFC 9457).
type problem struct {
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Version  string `json:"version,omitempty"`  // of a conflict: the version of the account
	Meantime []any  `json:"meantime,omitempty"` // and what has happened since the expected one
}

// answer writes a value, or a problem.
func (a *api) answer(w http.ResponseWriter, status int, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		p := problemOf(err)
		if p.Status >= http.StatusInternalServerError {
			a.log.Error("a request failed", "error", err)
		}
		w.Header().Set("Content-Type", "application/problem+json")
		status, v = p.Status, p
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the browser has gone
}

func problemOf(err error) problem {
	p := problem{Status: http.StatusServiceUnavailable, Title: "unavailable", Detail: "try again later"}
	var conflict *eventstore.Conflict[Event]
	switch {
	case errors.As(err, &conflict):
		p = problem{Status: http.StatusConflict, Title: "conflict", Detail: "the account has changed: look again",
			Version: conflict.Last.String()}
		for _, e := range conflict.Between {
			p.Meantime = append(p.Meantime, map[string]any{"type": e.Type, "event": e.Value})
		}
	case errors.Is(err, view.ErrBuilding):
		p = problem{Status: http.StatusConflict, Title: "conflict", Detail: "it is being rebuilt already"}
	case errors.Is(err, eventstore.ErrAppendID):
		p = problem{Status: http.StatusConflict, Title: "conflict", Detail: "another transfer has this id"}
	case errors.Is(err, errNoAccount):
		p = problem{Status: http.StatusNotFound, Title: "not found", Detail: "there is none of this name"}
	case errors.Is(err, errPoor):
		p = problem{Status: http.StatusUnprocessableEntity, Title: "refused", Detail: err.Error()}
	case errors.Is(err, errInvalid), errors.Is(err, eventstore.ErrTooLarge):
		p = problem{
			Status: http.StatusBadRequest,
			Title:  "invalid",
			Detail: strings.ReplaceAll(err.Error(), "\n", ": "),
		}
	}
	return p
}
