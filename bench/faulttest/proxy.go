package faulttest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// The ways of cutting a connection.
const (
	cutRequest     = "request lost"       // the server never hears of it
	cutHalfRequest = "request half sent"  // and here the first half
	cutReply       = "reply lost"         // the server did it, the client never hears
	cutHalfReply   = "reply half arrived" // the same
)

var cuts = [...]string{cutRequest, cutHalfRequest, cutReply, cutHalfReply}

// proxy stands between workers and a server: it cuts connections, delays what passes and limits its rate.
type proxy struct {
	l  net.Listener
	wg sync.WaitGroup

	mu     sync.Mutex
	target string
	conns  map[net.Conn]struct{}
	rng    *rand.Rand
	share  float64       // of requests that are cut
	delay  time.Duration // of each chunk, both ways
	rate   int           // bytes a second and direction; 0: no limit
	done   map[string]int
	doubt  int // writes that the server may have done and the client does not know of
}

func (t *trial) proxy(target string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	t.must(err)
	p := &proxy{l: l, target: target, conns: make(map[net.Conn]struct{}), rng: rand.New(rand.NewPCG(t.o.Seed, 7)), done: make(map[string]int)}
	p.wg.Go(p.accept)
	t.atEnd(func() {
		_ = l.Close() // ends accept
		p.cutAll()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) url() string { return "redis://" + p.l.Addr().String() }

func (p *proxy) accept() {
	for {
		c, err := p.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.wg.Go(func() { p.serve(c) })
		}
	}
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	s, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", target)
	if err != nil {
		return
	}
	defer s.Close()
	p.mu.Lock()
	p.conns[c], p.conns[s] = struct{}{}, struct{}{}
	p.mu.Unlock()
	fate := make(chan string, 1) // of the next reply
	unanswered := new(atomic.Int64)
	var both sync.WaitGroup
	both.Go(func() { defer s.Close(); p.requests(c, s, fate, unanswered) })
	both.Go(func() { defer c.Close(); p.replies(s, c, fate, unanswered) })
	both.Wait()
	p.mu.Lock()
	delete(p.conns, c)
	delete(p.conns, s)
	p.mu.Unlock()
}

// requests passes requests on until one is cut, or the connection ends.
func (p *proxy) requests(from, to net.Conn, fate chan<- string, unanswered *atomic.Int64) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.shape(n)
		unanswered.Add(int64(bytes.Count(buf[:n], xadd)))
		switch how := p.draw(buf[:n], int(unanswered.Load())); how {
		case cutRequest:
			_ = from.Close() // what the trial is about
			return
		case cutHalfRequest:
			_, _ = to.Write(buf[:n/2]) // the same
			_ = from.Close()
			return
		case cutReply, cutHalfReply:
			fate <- how
			_, _ = to.Write(buf[:n]) // the reply's side ends both
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) replies(from, to net.Conn, fate <-chan string, unanswered *atomic.Int64) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.shape(n)
		select {
		case how := <-fate:
			if how == cutHalfReply {
				_, _ = to.Write(buf[:n/2]) // what the trial is about
			}
			return
		default:
		}
		unanswered.Store(max(0, unanswered.Load()-int64(bytes.Count(buf[:n], newline)/2))) // the reply to an XADD has two lines
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

var xadd, newline = []byte("\nxadd\r"), []byte("\n")

// draw decides what becomes of a chunk of requests.
func (p *proxy) draw(chunk []byte, writes int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.share == 0 || p.rng.Float64() >= p.share {
		return ""
	}
	how := cuts[p.rng.IntN(len(cuts))]
	p.done[how]++
	p.done["cut of "+kindOf(chunk)]++
	if how != cutRequest {
		p.doubt += writes
	}
	return how
}

func (p *proxy) shape(n int) {
	p.mu.Lock()
	d := p.delay
	if p.rate > 0 {
		d += time.Duration(n) * time.Second / time.Duration(p.rate)
	}
	p.mu.Unlock()
	if d > 0 {
		time.Sleep(d)
	}
}

func (p *proxy) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close() // what the trial is about
	}
}

// count adds what was done to the trial's faults.
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
