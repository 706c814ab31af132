package ws

import (
	"context"
	"net/http"
	"strings"
)

// Identity is who is at the other end of a socket, as the server knows. Nothing that a client says changes it.
type Identity struct {
	// User names the user. It travels with all that its sockets say, and is whom User addresses.
	User string
	// Value is whatever else Authenticate found out. Authorize gets it; it stays in this process.
	Value any
}

// Action is what a client wants of a room.
type Action string

// The actions that Authorize is asked for.
const (
	// Join is to hear what is said in a room, and what was said there as far as the log goes back.
	Join Action = "join"
	// Send is to say something in a room that was joined, or, with an empty room, to the application.
	Send Action = "send"
)

// Authenticator says who makes a request, before it is upgraded to a socket. An error refuses it,
// with 401, or what status a *gateways.RemoteError has. The context of the request ends with the
// upgrade.
type Authenticator func(*http.Request) (Identity, error)

// Authorizer says whether somebody may do something in a room: an error means no. What the client
// is told is the text of a *gateways.RemoteError, and of other errors nothing. It is called for
// each join, again when a session goes on, and for each message; its context has a deadline of 10
// s.
type Authorizer func(ctx context.Context, who Identity, what Action, room string) error

// bearer begins the subprotocol that carries a token.
const bearer = "bearer."

// Subprotocol is the one that the gateway speaks. Clients need not ask for it, unless they ask for
// another one too, as they do who pass a token that way.
const Subprotocol = "streamerson.v1"

// Token is the token of a request: that of the header Authorization ("Bearer …"), which programs can set; of the
// subprotocol "bearer.…", which browsers can set and no log shows; or of the query parameter token,
// which logs do show. "" if there is none. What it means is for Authenticate to say.
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
