package ws

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/coder/websocket"
)

// maxTurned limits the sockets that only report a refusal to MaxSockets/maxTurned. Further requests
// are refused by HTTP.
const maxTurned = 16

// checkOrigin refuses pages of other hosts, unless Origins lists them. Clients other than browsers
// send no origin.
func (h *Hub) checkOrigin(r *http.Request) error {
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
	for _, pattern := range h.cfg.Origins {
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

// turn reports whether a refusal is reported through a socket. If so, the caller must call
// turnDone.
func (h *Hub) turn(r *http.Request) bool {
	if !asksFor(r, Subprotocol) {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.turned >= max(1, h.cfg.MaxSockets/maxTurned) {
		return false
	}
	h.turned++
	return true
}

// turnDone releases the place taken by turn, unless a socket keeps it.
func (h *Hub) turnDone(kept *bool) {
	if *kept {
		return
	}
	h.mu.Lock()
	h.turned--
	h.mu.Unlock()
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

// turnAway replaces live for a socket that only reports a refusal. It discards the client's frames.
func (s *socket) turnAway(code websocket.StatusCode, reason string) {
	defer func() {
		s.end()
		kept := false
		s.hub.turnDone(&kept)
	}()
	s.finish(code, reason)
	s.drain()
}
