package ws

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/traces"
	"github.com/streamerson/streamerson-go/redisio"
)

// HeaderSession is the header of a call that names the session it comes from. If the hub has an
// Authenticate, gateways.HeaderIdentity names the user, as for HTTP calls. Clients cannot set
// headers of their calls.
const HeaderSession = "ws-session"

// headers returns the headers of the calls of a session.
func (in *incoming) headers() flow.Headers {
	h := flow.Headers{{Name: HeaderSession, Value: in.session}}
	if in.s.hub.cfg.Authenticate != nil { // otherwise the user is anonymous
		h = append(h, flow.Header{Name: gateways.HeaderIdentity, Value: in.who.User})
	}
	return h
}

// errCancelled is the cause when a client cancels a call.
var errCancelled = errors.New("ws: call cancelled by the client")

// calls are the calls in flight of a socket.
type calls struct {
	mu      sync.Mutex
	cancels map[string]context.CancelCauseFunc // by the id of the call
	closed  bool                               // no call may start
}

// start runs a call in a new goroutine and sends the last frame of its answer, unless the call is
// refused.
func (c *calls) start(s *socket, id string, call func(context.Context) reply) *fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return &fault{id, codeClosing, "server shutting down: reconnect and call again"}
	case len(c.cancels) >= s.hub.cfg.MaxCalls:
		return &fault{id, codeBusy, "too many calls in flight on this socket"}
	case c.cancels[id] != nil:
		return &fault{id, codeFrame, "a call with this id is already in flight"}
	}
	if c.cancels == nil {
		c.cancels = make(map[string]context.CancelCauseFunc)
	}
	ctx, cancel := context.WithCancelCause(s.ctx)
	c.cancels[id] = cancel
	s.work.Go(func() {
		defer cancel(nil)
		last := call(ctx)
		if over := func() { c.end(id) }; !s.out.put(last.frame(), over) {
			over()
		}
		if !s.live.busy.Load() {
			s.left()
		}
	})
	return nil
}

// end ends a call, so that its id is free. It runs when the last frame is queued: later a client that
// has read it could be refused, earlier left could close the socket before it.
func (c *calls) end(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.cancels, id)
}

// cancel cancels a call if it is in flight.
func (c *calls) cancel(id string) {
	c.mu.Lock()
	cancel := c.cancels[id]
	c.mu.Unlock()
	if cancel != nil {
		cancel(errCancelled)
	}
}

// close refuses further calls.
func (c *calls) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// none reports whether no call is in flight.
func (c *calls) none() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.cancels) == 0
}

// call starts a call. Its answer is sent later.
func (in *incoming) call(q *request) *fault {
	s := in.s
	if !slices.Contains(s.hub.cfg.CallTypes, q.typ) {
		return &fault{q.id, codeNoCalls, "call type not available"}
	}
	wrong := s.calls.start(s, q.id, func(ctx context.Context) reply { return in.answer(ctx, q) })
	if wrong == nil {
		s.hub.stats.calls.Add(1)
	}
	return wrong
}

// answer makes a call and returns the last frame of its answer.
func (in *incoming) answer(ctx context.Context, q *request) reply {
	if q.timeout > 0 {
		var done context.CancelFunc
		ctx, done = context.WithTimeout(ctx, time.Duration(q.timeout)*time.Millisecond)
		defer done()
	}
	if q.data == nil {
		q.data = []byte("null")
	}
	var err error
	ctx, trace, span := in.traceCall(ctx, q)
	defer traces.End(span, &err)
	headers := append(in.headers(), trace...)
	last := reply{Kind: "reply", ID: q.id}
	if q.stream {
		last.Kind = "end"
		err = in.parts(ctx, q, headers)
	} else {
		var got gateways.Response
		got, err = in.s.hub.cfg.Calls.Do(ctx, gateways.Request{
			Type: q.typ, Body: q.data, ContentType: "application/json", Headers: headers,
		})
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
func (in *incoming) parts(ctx context.Context, q *request, headers flow.Headers) error {
	var opts []gateways.CallOption
	for _, h := range headers {
		opts = append(opts, gateways.Header(h.Name, h.Value))
	}
	ask := gateways.Stream[json.RawMessage, json.RawMessage](in.s.hub.cfg.Calls, q.typ, opts...)
	for part, err := range ask(ctx, q.data) {
		if err != nil {
			return err
		}
		if !in.s.reply(reply{Kind: "part", ID: q.id, Data: part}) {
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

// callFault returns the fault that is sent to the client of a failed call.
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
