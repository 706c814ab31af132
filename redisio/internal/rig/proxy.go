package rig

import (
	"testing"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Proxy is a redistest.Proxy with the methods that tests of lost replies need.
type Proxy struct{ *redistest.Proxy }

func NewProxy(t *testing.T, backend string) *Proxy {
	t.Helper()
	return &Proxy{redistest.StartProxy(t, backend)}
}

// LoseReplies cuts the connection of the next n requests that contain match, after the request. It
// replaces earlier orders.
func (p *Proxy) LoseReplies(match string, n int) {
	p.Cut(0, "", 0)
	p.Cut(redistest.CutReply, match, n)
}

func (p *Proxy) Lost() int { return p.Counts().Total() }

func (p *Proxy) Requests() int { return p.Counts().Requests + p.Counts().Refused }
