package faulttest

import (
	"bytes"
	"sync"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// proxyTo relays between workers and a server, and records the faults that it injects.
type proxy struct {
	*redistest.Proxy

	mu    sync.Mutex
	done  map[string]int
	doubt int // writes that the server may have executed without the client's knowledge
}

func proxyTo(t *trial, target string) *proxy {
	p := &proxy{done: make(map[string]int)}
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
	kind := kindOf(request)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done[how.String()]++
	p.done["cut of "+kind]++
	if !bytes.HasPrefix(request, []byte("*")) {
		p.doubt += pipeline
	} else if how != redistest.CutRequest {
		p.doubt += bytes.Count(request, xadd)
	}
}

// count adds the injected faults to the trial's, and allows the duplicates that they explain.
func (p *proxy) count(t *trial) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for kind, n := range p.done {
		t.fault(kind, n)
	}
	t.allow(p.doubt)
	p.doubt = 0
	clear(p.done)
}
