package ws

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
)

// authenticate says who makes a request, or with which status it is refused.
func (h *Hub) authenticate(r *http.Request) (who Identity, status int, err error) {
	if h.cfg.Authenticate == nil {
		return Identity{User: "guest-" + rand.Text()[:12]}, 0, nil
	}
	who, err = h.cfg.Authenticate(r)
	if err == nil {
		if err = checkName("user of Authenticate", who.User); err != nil {
			return who, http.StatusInternalServerError, err
		}
		return who, 0, nil
	}
	var said *gateways.RemoteError
	switch {
	case errors.As(err, &said) && said.Status >= 400 && said.Status <= 599:
		return who, said.Status, err
	case errors.As(err, &said) && said.Code == gateways.CodeForbidden:
		return who, http.StatusForbidden, err
	}
	return who, http.StatusUnauthorized, err
}

// authorizeTimeout bounds each call of Authorize.
const authorizeTimeout = 10 * time.Second

// authorize asks whether a session may do something.
func (s *socket) authorize(id string, what Action, room string) *fault {
	if s.hub.cfg.Authorize == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, authorizeTimeout)
	defer cancel()
	err := s.hub.cfg.Authorize(ctx, s.who, what, room)
	if err == nil {
		return nil
	}
	f := &fault{id, codeDenied, "you may not " + string(what) + " here"}
	var said *gateways.RemoteError
	if errors.As(err, &said) {
		f.code, f.message = string(said.Code), said.Message
	}
	return f
}
