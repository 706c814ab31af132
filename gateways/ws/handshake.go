package ws

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/coder/websocket"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/places"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
)

// ServeHTTP upgrades a request to a socket. It returns after the handshake, so middleware around
// the hub sees only the handshake. A request is refused with 401 by Authenticate, and with 403 if
// it comes from a page of another host. It is refused with 503 when the hub is full or not running,
// and with 400, 405 or 426 if it is not a handshake. A page cannot see the status of a handshake.
// So if Authenticate or Origins refuses a client that asks for the Subprotocol, the socket is
// opened and closed at once, with 4000 plus the status: 4401 or 4403.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	run, release, full := h.reserve(r)
	if run == nil {
		h.stats.refused.Add(1)
		w.Header().Set("Retry-After", "2")
		http.Error(w, full, http.StatusServiceUnavailable)
		return
	}
	opened := false
	defer func() {
		if !opened {
			h.stats.refused.Add(1)
			release()
		}
	}()
	who, err := h.authenticate(r)
	status := 0
	if err != nil {
		status = problem.Of(err).Status
		h.cfg.Log.Info("socket refused", "hub", h.name, "status", status, "error", err)
		if !h.reserveRefusal(r) {
			http.Error(w, http.StatusText(status), status)
			return
		}
		defer func() {
			if !opened { // otherwise turnAway releases it
				h.releaseRefusal()
			}
		}()
	}
	s := newSocket(h, run, who, release)
	up := &upgrade{ResponseWriter: w, timeout: h.cfg.WriteTimeout, live: &s.live}
	conn, failed := websocket.Accept(up, r, &websocket.AcceptOptions{
		Subprotocols:       []string{Subprotocol},
		InsecureSkipVerify: true, // see checkOrigin
		CompressionMode:    websocket.CompressionDisabled,
		OnPingReceived:     s.in.pinged,
		OnPongReceived:     s.in.ponged,
	})
	if failed != nil {
		h.cfg.Log.Info("socket refused", "hub", h.name, "error", failed)
		return // Accept has written the response
	}
	conn.SetReadLimit(int64(h.cfg.MaxMessage))
	s.conn, s.wire = conn, up.wire
	opened = true
	h.admit(s)
	// Not in this goroutine: net/http would keep its buffers until the socket ends.
	if err != nil {
		h.stats.refused.Add(1)
		run.work.Go(func() { s.turnAway(websocket.StatusCode(4000+status), http.StatusText(status)) })
		return
	}
	run.work.Go(s.serve)
}

// reserve reserves a place for a socket, which release releases. Without a place it returns no run,
// and the text of the response.
func (h *Hub) reserve(r *http.Request) (run *hubRun, release func(), full string) {
	run, full = h.enter()
	if run == nil {
		return nil, nil, full
	}
	leave, ok := places.Take(r.Context())
	if !ok { // the other connections are reserved for plain requests
		h.leave(run)
		return nil, nil, fullProblem
	}
	return run, func() { leave(); h.leave(run) }, "" // Stats shows the place when it is free
}

const fullProblem = "too many sockets, try again later"

// enter reserves a place of the hub. leave releases it.
func (h *Hub) enter() (run *hubRun, full string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.running == nil || !h.running.accepts:
		return nil, "hub is not running, try again later"
	case h.taken >= h.cfg.MaxSockets:
		return nil, fullProblem
	}
	h.taken++
	h.running.work.Add(1)
	return h.running, ""
}

func (h *Hub) leave(run *hubRun) {
	h.mu.Lock()
	h.taken--
	h.mu.Unlock()
	run.work.Done()
}

// authenticate identifies the user of a request. An error is the answer that refuses it.
func (h *Hub) authenticate(r *http.Request) (gateways.Identity, error) {
	if err := checkOrigin(r, h.cfg.Origins); err != nil {
		return gateways.Identity{}, problem.New(gateways.CodeForbidden, err.Error())
	}
	who, err := problem.Identify(r, h.cfg.Authenticate)
	switch {
	case err != nil:
		problem.LogPanic(h.cfg.Log, err, "Authenticate panicked", "hub", h.name)
	case h.cfg.Authenticate == nil:
		who.User = "guest-" + rand.Text()[:12]
	default:
		if wrong := checkName("user of Authenticate", who.User); wrong != nil {
			err = problem.New(gateways.CodeInternal, wrong.Error())
		}
	}
	return who, err
}

// checkOrigin refuses pages of other hosts, unless they are allowed. Clients other than browsers
// send no origin.
func checkOrigin(r *http.Request, allowed []string) error {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return errors.New("ws: origin is not a URL")
	}
	if strings.EqualFold(u.Host, r.Host) {
		return nil
	}
	for _, pattern := range allowed {
		target := u.Host
		if strings.Contains(pattern, "://") {
			target = u.Scheme + "://" + u.Host
		}
		// Validate has checked the pattern.
		if ok, _ := path.Match(strings.ToLower(pattern), strings.ToLower(target)); ok {
			return nil
		}
	}
	return errors.New("ws: origin is neither this host nor in HubConfig.Origins")
}

// maxRefusals limits the sockets that only report a refusal to MaxSockets/maxRefusals. Further
// requests are refused by HTTP.
const maxRefusals = 16

// reserveRefusal reports whether a refusal is reported through a socket. releaseRefusal releases
// the place.
func (h *Hub) reserveRefusal(r *http.Request) bool {
	if !asksFor(r, Subprotocol) {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refusals >= max(1, h.cfg.MaxSockets/maxRefusals) {
		return false
	}
	h.refusals++
	return true
}

func (h *Hub) releaseRefusal() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refusals--
}

// asksFor reports whether a handshake offers a subprotocol.
func asksFor(r *http.Request, protocol string) bool {
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(p) == protocol {
				return true
			}
		}
	}
	return false
}
