package ws

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/redisio"
)

// HeaderSession is the header of a call that names the session it comes from. If the hub has an
// Authenticate, gateways.HeaderIdentity names the user, as for HTTP calls. Clients cannot set
// headers of their calls.
const HeaderSession = "ws-session"

// headers returns the headers of the calls of a session.
func (s *socket) headers() flow.Headers {
	h := flow.Headers{{Name: HeaderSession, Value: s.session}}
	if s.hub.cfg.Authenticate != nil { // otherwise the user is anonymous
		h = append(h, flow.Header{Name: gateways.HeaderIdentity, Value: s.who.User})
	}
	return h
}

// errCancelled is the cause when a client cancels a call.
var errCancelled = errors.New("ws: call cancelled by the client")

// call starts a call. Its answer is sent later.
func (s *socket) call(q *request) *fault {
	cfg := &s.hub.cfg
	if !slices.Contains(cfg.CallTypes, q.typ) {
		return &fault{q.id, codeNoCalls, "call type not available"}
	}
	ctx, cancel := context.WithCancelCause(s.ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.bye != nil || s.over:
		cancel(nil)
		return &fault{q.id, codeClosing, "server shutting down: reconnect and call again"}
	case len(s.calls) >= cfg.MaxCalls:
		cancel(nil)
		return &fault{q.id, codeBusy, "too many calls in flight on this socket"}
	case s.calls[q.id] != nil:
		cancel(nil)
		return &fault{q.id, codeFrame, "a call with this id is already in flight"}
	}
	if s.calls == nil {
		s.calls = make(map[string]context.CancelCauseFunc)
	}
	s.calls[q.id] = cancel
	s.hub.stats.calls.Add(1)
	s.work.Go(func() {
		defer cancel(nil)
		s.say(s.answer(ctx, q))
		s.mu.Lock()
		delete(s.calls, q.id)
		s.mu.Unlock()
		if !s.busy.Load() {
			s.left()
		}
	})
	return nil
}

// answer makes a call and returns the last frame of its answer.
func (s *socket) answer(ctx context.Context, q *request) reply {
	if q.timeout > 0 {
		var done context.CancelFunc
		ctx, done = context.WithTimeout(ctx, time.Duration(q.timeout)*time.Millisecond)
		defer done()
	}
	if q.data == nil {
		q.data = []byte("null")
	}
	var err error
	last := reply{Kind: "reply", ID: q.id}
	if q.stream {
		last.Kind = "end"
		err = s.parts(ctx, q)
	} else {
		var got gateways.Response
		got, err = s.hub.cfg.Calls.Do(ctx, gateways.Request{Type: q.typ, Body: q.data, ContentType: "application/json",
			Headers: s.headers()})
		if err == nil {
			last.Data, err = asJSON(&got)
		}
	}
	if err == nil {
		return last
	}
	f := callFault(ctx, err)
	return reply{Kind: "error", ID: q.id, Code: f.code, Message: f.message}
}

// parts forwards a streamed answer at the pace of the client.
func (s *socket) parts(ctx context.Context, q *request) error {
	var opts []gateways.CallOption
	for _, h := range s.headers() {
		opts = append(opts, gateways.Header(h.Name, h.Value))
	}
	ask := gateways.Stream[json.RawMessage, json.RawMessage](s.hub.cfg.Calls, q.typ, opts...)
	for part, err := range ask(ctx, q.data) {
		if err != nil {
			return err
		}
		if !s.say(reply{Kind: "part", ID: q.id, Data: part}) {
			return gateways.ErrClosed
		}
	}
	return nil
}

// asJSON converts the answer of a service: JSON is kept as it is, text becomes a string.
func asJSON(r *gateways.Response) (json.RawMessage, error) {
	switch {
	case len(r.Body) == 0:
		return nil, nil
	case (r.ContentType == "" || redisio.ContentTypeMatches("application/json", r.ContentType)) && json.Valid(r.Body):
		return r.Body, nil
	case utf8.Valid(r.Body):
		return json.Marshal(string(r.Body))
	}
	return nil, gateways.Errorf(
		gateways.CodeUnsupported,
		"service answer has content type %.40q, want JSON or text",
		r.ContentType,
	)
}

// callFault is what a client is told of a call that failed.
func callFault(ctx context.Context, err error) fault {
	var said *gateways.RemoteError
	switch {
	case errors.As(err, &said):
		return fault{code: string(said.Code), message: said.Message}
	case context.Cause(ctx) == errCancelled:
		return fault{code: codeCanceled, message: "the call was cancelled"}
	case errors.Is(err, gateways.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return fault{code: string(gateways.CodeTimeout), message: "call timed out"}
	case errors.Is(err, gateways.ErrOverloaded):
		return fault{code: codeBusy, message: "too many calls in flight: try again later"}
	case errors.Is(err, gateways.ErrInterrupted):
		return fault{code: string(gateways.CodeInterrupted), message: "answer interrupted: call again"}
	case ctx.Err() != nil:
		return fault{code: codeClosing, message: "server shutting down: reconnect and call again"}
	}
	return fault{code: codeAway, message: "call failed: try again later"}
}

// cancelCall cancels a call if it is in flight.
func (s *socket) cancelCall(id string) {
	s.mu.Lock()
	cancel := s.calls[id]
	s.mu.Unlock()
	if cancel != nil {
		cancel(errCancelled)
	}
}
