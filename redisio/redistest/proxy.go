package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Cut is a way of cutting a connection in the middle of a request and its reply.
type Cut int

// The ways of cutting a connection. A client that sees one of them can't tell which it was.
const (
	CutRequest     Cut = iota // the server never hears of the request
	CutHalfRequest            // half of it arrives: of a pipeline, the first commands are done
	CutReply                  // the server did it, the client never hears
	CutHalfReply              // and here the first half of the reply
)

func (c Cut) String() string {
	switch c {
	case CutRequest:
		return "request lost"
	case CutHalfRequest:
		return "request half sent"
	case CutReply:
		return "reply lost"
	case CutHalfReply:
		return "reply half arrived"
	}
	return fmt.Sprintf("Cut(%d)", int(c))
}

// Proxy stands between clients and a server and does to their connections what networks do: it cuts them, before or
// after the server has acted, delays them, limits their rate, or says nothing more. It knows no
// Redis: a request is what arrives in one piece, which for the pipelines and replies of this
// library is mostly one of them.
//
// All methods may be called at any time, from any goroutine.
type Proxy struct {
	l      net.Listener
	onCut  func(Cut, []byte)
	wg     sync.WaitGroup
	closed chan struct{}

	mu       sync.Mutex
	upstream string
	conns    map[net.Conn]struct{}
	rng      *rand.Rand
	share    float64
	ways     []Cut
	ordered  []order
	traffic  Traffic
	down     bool
	gate     chan struct{} // closed while traffic flows
	counts   ProxyCounts
}

// order is a cut on command.
type order struct {
	how   Cut
	match []byte
	left  int
}

// Traffic is how a line behaves.
type Traffic struct {
	Latency   time.Duration // each way; many may be on their way at once
	Bandwidth int           // bytes a second, each connection, each way; 0: no limit
}

// ProxyCounts are what a proxy did.
type ProxyCounts struct {
	Conns    int         // accepted
	Refused  int         // closed at once, while it was down
	Requests int         // what came from clients in one piece
	Cuts     map[Cut]int // connections cut, by how
	Up       int64       // bytes to the server
	Down     int64       // bytes to clients
}

// Total is the number of cuts of all kinds.
func (c ProxyCounts) Total() (n int) {
	for _, m := range c.Cuts {
		n += m
	}
	return n
}

// ProxyOptions configure a proxy.
type ProxyOptions struct {
	// OnCut is told of each cut and the request it hit, which is valid until it returns, one at a
	// time. It must not call the proxy.
	OnCut func(how Cut, request []byte)
}

// NewProxy starts a proxy to host:port. Close ends it.
func NewProxy(upstream string, o ProxyOptions) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	p := &Proxy{
		l:        l,
		upstream: upstream,
		onCut:    o.OnCut,
		closed:   make(chan struct{}),
		conns:    make(map[net.Conn]struct{}),
		gate:     make(chan struct{}),
		counts:   ProxyCounts{Cuts: make(map[Cut]int)},
	}
	close(p.gate)
	p.wg.Go(p.accept)
	return p, nil
}

// StartProxy starts a proxy that ends with the test.
func StartProxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	p, err := NewProxy(upstream, ProxyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // the test may have closed it
	return p
}

// Close cuts all connections and ends the proxy.
func (p *Proxy) Close() error {
	err := p.l.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	close(p.closed)
	p.CutAll()
	p.wg.Wait()
	return err
}

// Addr returns host:port.
func (p *Proxy) Addr() string { return p.l.Addr().String() }

// URL returns the URL to connect to.
func (p *Proxy) URL() string { return "redis://" + p.Addr() }

// Client returns a client by the proxy, closed when the test ends. It sends nothing of its own accord but HELLO.
func (p *Proxy) Client(t testing.TB) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: p.Addr(), DisableIdentity: true})
	t.Cleanup(func() { _ = rdb.Close() }) // the test may have closed it
	return rdb
}

// Cut cuts the connections of the next n requests that contain match, in lower case; "" is in every request. Orders
// add up, the oldest first; an n of 0 takes all orders back.
func (p *Proxy) Cut(how Cut, match string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n == 0 {
		p.ordered = nil
		return
	}
	p.ordered = append(p.ordered, order{how, bytes.ToLower([]byte(match)), n})
}

// CutRandomly cuts the connection of this share of all requests, in one of these ways, all if none is given. The same
// seed draws the same fates, as long as the requests come in the same order. A share of 0 ends it.
func (p *Proxy) CutRandomly(seed uint64, share float64, ways ...Cut) {
	if len(ways) == 0 {
		ways = []Cut{CutRequest, CutHalfRequest, CutReply, CutHalfReply}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rng, p.share, p.ways = rand.New(rand.NewPCG(seed, 1)), share, ways
}

// Shape sets how fast the lines are, for what arrives from now on. The zero value ends it.
func (p *Proxy) Shape(tr Traffic) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.traffic = tr
}

// Hang makes the proxy accept connections and keep all it has, saying nothing, until it is called with false; then all
// goes on.
func (p *Proxy) Hang(hang bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gate:
		if hang {
			p.gate = make(chan struct{})
		}
	default:
		if !hang {
			close(p.gate)
		}
	}
}

// SetDown cuts all connections and ends each new one at once, until it is called with false.
func (p *Proxy) SetDown(down bool) {
	p.mu.Lock()
	p.down = down
	p.mu.Unlock()
	if down {
		p.CutAll()
	}
}

// Redirect sends new connections to another server, as a changed DNS entry does.
func (p *Proxy) Redirect(upstream string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upstream = upstream
}

// CutAll closes all connections there are.
func (p *Proxy) CutAll() { p.closeAll(false) }

// ResetAll is CutAll by TCP resets: what is on its way is gone.
func (p *Proxy) ResetAll() { p.closeAll(true) }

func (p *Proxy) closeAll(reset bool) {
	p.mu.Lock()
	all := maps.Clone(p.conns)
	p.mu.Unlock()
	for c := range all { // before the first is closed, for its end ends the one behind it
		if tcp, ok := c.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0) // it may be closed already
		}
	}
	for c := range all {
		_ = c.Close()
	}
}

// Counts returns what it did so far.
func (p *Proxy) Counts() ProxyCounts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counts
	c.Cuts = maps.Clone(c.Cuts)
	return c
}

// fate decides what becomes of a request.
func (p *Proxy) fate(request []byte) (Cut, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Requests++
	how, cut := p.draw(request)
	if cut {
		p.counts.Cuts[how]++
		if p.onCut != nil {
			p.onCut(how, request)
		}
	}
	return how, cut
}

func (p *Proxy) draw(request []byte) (Cut, bool) {
	if len(p.ordered) > 0 {
		o := &p.ordered[0]
		if !bytes.Contains(bytes.ToLower(request), o.match) {
			return 0, false
		}
		how := o.how
		if o.left--; o.left <= 0 {
			p.ordered = p.ordered[1:]
		}
		return how, true
	}
	if p.share == 0 || p.rng.Float64() >= p.share {
		return 0, false
	}
	return p.ways[p.rng.IntN(len(p.ways))], true
}
