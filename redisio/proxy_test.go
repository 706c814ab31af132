package redisio

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// proxy is a redistest.Proxy in the words of the tests of lost replies.
type proxy struct{ *redistest.Proxy }

func newProxy(t *testing.T, backend string) *proxy {
	t.Helper()
	return &proxy{redistest.StartProxy(t, backend)}
}

func (p *proxy) client(t *testing.T) *redis.Client { return p.Client(t) }

// loseReplies cuts the connection of the next n requests that contain match, behind the request. It replaces what was
// asked for before.
func (p *proxy) loseReplies(match string, n int) {
	p.Cut(0, "", 0)
	p.Cut(redistest.CutReply, match, n)
}

func (p *proxy) lost() int         { return p.Counts().Total() }
func (p *proxy) requests() int     { return p.Counts().Requests + p.Counts().Refused }
func (p *proxy) cutAll()           { p.CutAll() }
func (p *proxy) setDown(down bool) { p.SetDown(down) }
