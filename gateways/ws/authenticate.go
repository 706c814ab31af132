package ws

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
)

// authenticate identifies the user of a request, or returns the status with which it is refused.
func (h *Hub) authenticate(r *http.Request) (who Identity, status int, err error) {
	if h.cfg.Authenticate == nil {
		return Identity{User: "guest-" + rand.Text()[:12]}, 0, nil
	}
	who, err = h.identify(r)
	var panicked *flow.PanicError
	if errors.As(err, &panicked) {
		h.cfg.Log.Error("Authenticate panicked", "hub", h.name, "error", err, "stack", string(panicked.Stack))
		return who, http.StatusInternalServerError, err
	}
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

// identify calls Authenticate and turns a panic into an error.
func (h *Hub) identify(r *http.Request) (who Identity, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &flow.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return h.cfg.Authenticate(r)
}

// authorizeTimeout bounds each call of Authorize.
const authorizeTimeout = 10 * time.Second

// authorize calls Authorize, and turns a refusal into a fault.
func (s *socket) authorize(id string, what Action, room string) *fault {
	if s.hub.cfg.Authorize == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, authorizeTimeout)
	defer cancel()
	err := s.permit(ctx, what, room)
	if err == nil {
		return nil
	}
	var panicked *flow.PanicError
	if errors.As(err, &panicked) {
		s.hub.cfg.Log.Error("Authorize panicked", "hub", s.hub.name, "room", room, "error", err,
			"stack", string(panicked.Stack))
		return &fault{id, string(gateways.CodeInternal), "internal error while authorizing " + string(what)}
	}
	f := &fault{id, codeDenied, "not allowed to " + string(what) + " here"}
	var said *gateways.RemoteError
	if errors.As(err, &said) {
		f.code, f.message = string(said.Code), said.Message
	}
	return f
}

// permit calls Authorize and turns a panic into an error, because this goroutine has no other
// recover.
func (s *socket) permit(ctx context.Context, what Action, room string) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &flow.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return s.hub.cfg.Authorize(ctx, s.who, what, room)
}
