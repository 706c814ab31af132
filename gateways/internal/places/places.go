// Package places keeps what is long-lived on a server, as sockets and event streams, from taking
// its last connections: health checks and other requests need some.
package places

import (
	"context"
	"sync"
)

// Places are the connections of a server that may be taken for long.
type Places struct {
	mu   sync.Mutex
	free int
}

// Of are the places of a server with so many connections: all but a sixteenth, or 64 if that is
// less.
func Of(connections int) *Places {
	return &Places{free: max(1, connections-max(1, min(64, connections/16)))}
}

type key struct{}

// With returns a context of requests whose server has these places.
func With(ctx context.Context, p *Places) context.Context { return context.WithValue(ctx, key{}, p) }

// Take takes a place on the server of a request. ok is false if there is none. leave gives it back,
// and is to be called once. Other servers than Serve have no places, and do not refuse.
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
