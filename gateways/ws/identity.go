package ws

import (
	"context"
	"net/http"
	"strings"

	"github.com/streamerson/streamerson-go/gateways"
)

// Action is what a client wants to do with a room.
type Action string

// The actions that Authorize decides on.
const (
	// Join is receiving the messages of a room, including past ones that the log still has.
	Join Action = "join"
	// Send is sending a message to a joined room, or, if the room is empty, to the application.
	Send Action = "send"
)

// Authorizer decides whether a user may do something in a room; an error refuses it. The client
// receives the text of a *gateways.RemoteError, and a general text for other errors. Authorizer is
// called for each join, again when a session is resumed, and for each message. Its context has a
// deadline of 10 s.
type Authorizer func(ctx context.Context, who gateways.Identity, what Action, room string) error

// bearer is the prefix of the subprotocol that carries a token.
const bearer = "bearer."

// Subprotocol is the subprotocol of the gateway. A client only has to ask for it if it asks for
// another one too, for example to pass a token.
const Subprotocol = "streamerson.v1"

// Token returns the token of a request, or "" if it has no token. Authenticate has to verify the
// token. It is the first of:
//   - the header Authorization ("Bearer …"), for programs;
//   - the subprotocol "bearer.…", for browsers, which is not logged;
//   - the query parameter token, which usually is logged.
func Token(r *http.Request) string {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return token
	}
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(line, ",") {
			if token, ok := strings.CutPrefix(strings.TrimSpace(p), bearer); ok {
				return token
			}
		}
	}
	return r.URL.Query().Get("token")
}
