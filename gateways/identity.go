package gateways

import "net/http"

// Identity is an authenticated caller of a gateway for web pages: see packages web, ws and sse.
type Identity struct {
	// User names the caller. Calls carry it as HeaderIdentity, events of sockets as their User.
	User string
	// Value is any further result of Authenticate. It stays in this process.
	Value any
}

// Authenticator identifies the caller of a request; one function serves routes, sockets and event
// streams. A *RemoteError refuses the request with its code and message, any other error with 401
// and without its text. A panic is logged and answered with 500.
type Authenticator func(*http.Request) (Identity, error)
