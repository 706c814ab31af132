package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/streamerson/streamerson-go/operators/window"
)

// Minute is the result of a minute, and Session that of a session.
type (
	Minute  = window.Result[string, Figures]
	Session = window.Result[string, int]
)

// board has the figures so far. A later pane of a window replaces an earlier one.
type board struct {
	mu       sync.Mutex // guards the fields below
	minutes  map[string]Minute
	sessions map[string]Session
}

func newBoard() *board {
	return &board{minutes: make(map[string]Minute), sessions: make(map[string]Session)}
}

func (b *board) minute(m Minute) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.minutes[m.Window()] = m
	return nil
}

func (b *board) session(s Session) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sessions[s.Window()] = s
	return nil
}

// state is what the page shows.
type state struct {
	Minutes []Minute      `json:"minutes"`
	Visits  map[int]int   `json:"visits"` // number of sessions by their number of views
	Users   []userSession `json:"users"`  // with the most sessions
	Count   int           `json:"sessions"`
}

type userSession struct {
	User     string `json:"user"`
	Sessions int    `json:"sessions"`
	Views    int    `json:"views"`
}

func (b *board) state() state {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := state{Minutes: slices.SortedFunc(maps.Values(b.minutes), byTime), Visits: make(map[int]int)}
	users := make(map[string]userSession)
	for _, one := range b.sessions {
		s.Visits[one.Value]++
		u := users[one.Key]
		users[one.Key] = userSession{one.Key, u.Sessions + 1, u.Views + one.Value}
	}
	s.Count = len(b.sessions)
	s.Users = slices.SortedFunc(maps.Values(users), func(a, b userSession) int {
		if a.Sessions != b.Sessions {
			return b.Sessions - a.Sessions
		}
		if a.Views != b.Views {
			return b.Views - a.Views
		}
		return len(a.User) - len(b.User)
	})
	s.Users = s.Users[:min(len(s.Users), 8)]
	return s
}

// ServeHTTP answers with the figures.
func (b *board) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(b.state()) // the browser has gone
}
