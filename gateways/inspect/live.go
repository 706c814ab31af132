package inspect

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/streamerson/streamerson-go/gateways/internal/eventstream"
)

const (
	liveEvery    = time.Second
	writeTimeout = 10 * time.Second
	retryAfter   = "5" // seconds
)

// live sends the state each second, as server-sent events. The query's graph is the one to send in
// detail.
func (p *Page) live(w http.ResponseWriter, r *http.Request) {
	if p.viewers.Add(1) > int64(p.cfg.MaxViewers) {
		p.viewers.Add(-1)
		w.Header().Set("Retry-After", retryAfter)
		http.Error(w, "too many pages are open: close one, or retry later", http.StatusServiceUnavailable)
		return
	}
	defer p.viewers.Add(-1)
	graph := r.URL.Query().Get("graph")
	out := eventstream.New(w, writeTimeout)
	defer out.End()
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	for {
		text, err := json.Marshal(p.board.see(r.Context(), graph, p.refresh))
		if err != nil {
			p.cfg.Log.Error("inspect: the state can't be encoded", "error", err)
			return
		}
		out.Retry(2 * time.Second)
		if out.Event("", "", text) != nil || out.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-p.closed: // the server would wait for this response
			return
		}
	}
}
