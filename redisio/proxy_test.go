package redisio

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
)

// proxy stands between client and server and cuts connections: before a reply (the request arrived, its
// reply is lost) or wholly.
type proxy struct {
	l       net.Listener
	backend string

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	match []byte // a request that contains it gets no reply: the connection is cut instead
	cuts  int    // how many times more
	made  int    // how many were made
	down  bool
	wg    sync.WaitGroup
}

func newProxy(t *testing.T, backend string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, backend: backend, conns: make(map[net.Conn]struct{})}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.cutAll()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) client(t *testing.T) *redis.Client {
	rdb := redis.NewClient(&redis.Options{Addr: p.l.Addr().String(), DisableIdentity: true})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func (p *proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		p.wg.Go(func() { p.serve(c) })
	}
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	p.mu.Lock()
	down := p.down
	p.mu.Unlock()
	if down {
		return
	}
	s, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.backend)
	if err != nil {
		return
	}
	defer s.Close()
	p.mu.Lock()
	p.conns[c], p.conns[s] = struct{}{}, struct{}{}
	p.mu.Unlock()
	mute := make(chan struct{})
	var once sync.Once
	var both sync.WaitGroup
	both.Go(func() { // requests
		defer s.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if p.hit(buf[:n]) {
				once.Do(func() { close(mute) })
			}
			if _, err := s.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	both.Go(func() { // replies
		defer c.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := s.Read(buf)
			if err != nil {
				return
			}
			select {
			case <-mute: // the server did it, the client never hears
				return
			default:
			}
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	both.Wait()
	p.mu.Lock()
	delete(p.conns, c)
	delete(p.conns, s)
	p.mu.Unlock()
}

func (p *proxy) hit(req []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cuts == 0 || !bytes.Contains(bytes.ToLower(req), p.match) {
		return false
	}
	p.cuts--
	p.made++
	return true
}

// loseReplies cuts the connection of the next n requests that contain match, behind the request.
func (p *proxy) loseReplies(match string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.match, p.cuts = []byte(match), n
}

func (p *proxy) lost() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made
}

func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) setDown(down bool) {
	p.mu.Lock()
	p.down = down
	p.mu.Unlock()
	if down {
		p.cutAll()
	}
}
