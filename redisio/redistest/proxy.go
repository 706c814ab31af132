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

// The ways of cutting a connection. A client can't tell them apart.
const (
	CutRequest     Cut = iota // the server receives nothing
	CutHalfRequest            // the server receives half: of a pipeline, it runs the first commands
	CutReply                  // the server acts, the client receives nothing
	CutHalfReply              // the server acts, the client receives half the reply
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

// Proxy sits between clients and a server and simulates network faults. It cuts connections before
// or after the server has acted, delays data, limits the rate, or hangs. It does not parse the
// Redis protocol: a request is what arrives in one read, which for this library's pipelines is
// usually one request.
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

// order is a requested cut.
type order struct {
	how   Cut
	match []byte
	left  int
}

// Traffic is the latency and bandwidth of a connection.
type Traffic struct {
	Latency   time.Duration // per direction; pieces overlap
	Bandwidth int           // bytes per second, per connection and direction; 0: no limit
}

// ProxyCounts are the counts of a proxy.
type ProxyCounts struct {
	Conns    int         // accepted
	Refused  int         // closed at once, while the proxy was down
	Requests int         // reads from clients
	Cuts     map[Cut]int // cut connections, by kind
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
	// OnCut is called for each cut with the request, which is valid until OnCut returns. Calls do
	// not overlap. It must not call the proxy.
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

// Client returns a client through the proxy, closed when the test ends. On its own it sends only
// HELLO.
func (p *Proxy) Client(t testing.TB) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(
		&redis.Options{Addr: p.Addr(), DisableIdentity: true, DialTimeout: answerIn, ReadTimeout: answerIn},
	)
	t.Cleanup(func() { _ = rdb.Close() }) // the test may have closed it
	return rdb
}

// Cut cuts the connections of the next n requests that contain match, in lower case; every request
// contains "". Orders add up, the oldest first. n = 0 cancels all orders.
func (p *Proxy) Cut(how Cut, match string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n == 0 {
		p.ordered = nil
		return
	}
	p.ordered = append(p.ordered, order{how, bytes.ToLower([]byte(match)), n})
}

// CutRandomly cuts the connections of this share of all requests, in one of these ways, or any way
// if none is given. The same seed gives the same cuts, if the requests arrive in the same order. A
// share of 0 ends it.
func (p *Proxy) CutRandomly(seed uint64, share float64, ways ...Cut) {
	if len(ways) == 0 {
		ways = []Cut{CutRequest, CutHalfRequest, CutReply, CutHalfReply}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rng, p.share, p.ways = rand.New(rand.NewPCG(seed, 1)), share, ways
}

// Shape sets the speed of connections for data that arrives from now on. The zero value removes the
// limits.
func (p *Proxy) Shape(tr Traffic) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.traffic = tr
}

// Hang(true) makes the proxy accept connections but forward nothing. Hang(false) forwards what it
// has kept and continues.
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

// SetDown(true) cuts all connections and closes new ones at once, until SetDown(false).
func (p *Proxy) SetDown(down bool) {
	p.mu.Lock()
	p.down = down
	p.mu.Unlock()
	if down {
		p.CutAll()
	}
}

// Redirect connects new connections to another server, like a changed DNS entry.
func (p *Proxy) Redirect(upstream string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upstream = upstream
}

// CutAll closes all connections.
func (p *Proxy) CutAll() { p.closeAll(false) }

// ResetAll is CutAll with TCP resets: data in flight is lost.
func (p *Proxy) ResetAll() { p.closeAll(true) }

func (p *Proxy) closeAll(reset bool) {
	p.mu.Lock()
	all := maps.Clone(p.conns)
	p.mu.Unlock()
	for c := range all { // before the first is closed, because its end also ends its counterpart
		if tcp, ok := c.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0) // it may be closed already
		}
	}
	for c := range all {
		_ = c.Close()
	}
}

// Counts returns the counts so far.
func (p *Proxy) Counts() ProxyCounts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counts
	c.Cuts = maps.Clone(c.Cuts)
	return c
}

// fate decides whether and how a request is cut.
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
