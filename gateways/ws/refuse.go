package ws

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/coder/websocket"
)

// maxTurned is which part of MaxSockets may be sockets that are told that they were refused; more
// are refused by HTTP.
const maxTurned = 16

// checkOrigin refuses pages of other hosts, unless Origins has them. Programs that are no browsers
// have no origin.
func (h *Hub) checkOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return errors.New("ws: the origin is no URL")
	}
	if strings.EqualFold(u.Host, r.Host) {
		return nil
	}
	for _, pattern := range h.cfg.Origins {
		target := u.Host
		if strings.Contains(pattern, "://") {
			target = u.Scheme + "://" + u.Host
		}
		if ok, _ := path.Match(strings.ToLower(pattern), strings.ToLower(target)); ok { // Validate has checked it
			return nil
		}
	}
	return errors.New("ws: the origin is not one of HubConfig.Origins, nor this host")
}

// turn reports whether a request that was refused is to be told by a socket. If so, turnDone is to
// be called.
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

// turnDone gives the place back, unless a socket has it.
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

// turnAway is live for a socket that is told that it was refused. Nothing that its client sends is
// looked at.
func (s *socket) turnAway(code websocket.StatusCode, reason string) {
	defer func() {
		s.end()
		kept := false
		s.hub.turnDone(&kept)
	}()
	s.finish(code, reason)
	s.drain()
}
