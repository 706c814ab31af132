// Package places limits the long-lived connections of a server, such as sockets and event streams,
// so that some connections remain for health checks and other requests.
package places

import (
	"context"
	"sync"
)

// Places holds the number of a server's connections that long-lived requests may still take.
type Places struct {
	mu   sync.Mutex
	free int
}

// Of returns the places of a server with the given number of connections: all but a sixteenth, or
// all but 64 if that is more.
func Of(connections int) *Places {
	return &Places{free: max(1, connections-max(1, min(64, connections/16)))}
}

type key struct{}

// With returns a context for the requests of a server with these places.
func With(ctx context.Context, p *Places) context.Context { return context.WithValue(ctx, key{}, p) }

// Take takes a place on the server of a request. ok is false if no place is free. The caller must
// call leave once to release the place. Servers other than web.Serve have no limit.
func Take(ctx context.Context) (leave func(), ok bool) {
	p, is := ctx.Value(key{}).(*Places)
	if !is {
		return func() {}, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free <= 0 {
		return nil, false
	}
	p.free--
	return func() {
		p.mu.Lock()
		p.free++
		p.mu.Unlock()
	}, true
}
