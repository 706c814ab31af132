package faulttest

import (
	"bytes"
	"sync/atomic"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// proxy relays between workers and a server, and records the faults that it injects.
type proxy struct {
	*redistest.Proxy
	fault func(kind string, n int)
	doubt atomic.Int64 // writes that the server may have executed without the client's knowledge
}

func proxyTo(t *trial, target string) *proxy {
	p := &proxy{fault: t.fault}
	var err error
	p.Proxy, err = redistest.NewProxy(target, redistest.ProxyOptions{OnCut: p.cut})
	t.must(err)
	t.closes(p)
	return p
}

var xadd = []byte("\nxadd\r")

// pipeline is the maximum number of writes in one pipeline of the sink.
const pipeline = 128

// cut records a cut. A pipeline may arrive in several pieces, of which earlier ones were forwarded.
func (p *proxy) cut(how redistest.Cut, request []byte) {
	p.fault(how.String(), 1)
	p.fault("cut of "+kindOf(request), 1)
	if !bytes.HasPrefix(request, []byte("*")) {
		p.doubt.Add(pipeline)
	} else if how != redistest.CutRequest {
		p.doubt.Add(int64(bytes.Count(request, xadd)))
	}
}

// excuse allows the duplicates that the faults so far explain.
func (p *proxy) excuse(t *trial) { t.allow(int(p.doubt.Swap(0))) }
