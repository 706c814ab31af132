package web_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamerson/streamerson-go/gateways/web"
)

// pipes is a listener with in-memory connections, for use with virtual time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// dial connects, unless the listener is closed.
func (p *pipes) dial() (net.Conn, bool) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, true
	case <-p.closed:
		return nil, false
	}
}

func served(ctx context.Context, h http.Handler, cfg web.ServerConfig) (*pipes, chan error) {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(ctx, p, h, cfg) }() // received by the test
	return p, ended
}

func probe(t *testing.T, c net.Conn, path string) (status int, closes bool) {
	t.Helper()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	got, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = bufio.NewReader(got.Body).ReadString(0)
	return got.StatusCode, got.Close
}

// A stopping server continues to serve for a while, so that load balancers notice.
func TestFault_G7_LameDuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mux := http.NewServeMux()
		mux.Handle("/readyz", web.Ready(func() error { return nil }))
		mux.Handle("/healthz", web.Healthy())
		ctx, cancel := context.WithCancel(t.Context())
		p, ended := served(ctx, mux, web.ServerConfig{LameDuck: 20 * time.Second})
		c, _ := p.dial()
		if status, closes := probe(t, c, "/readyz"); status != 200 || closes {
			t.Errorf("before: %d, closes %t", status, closes)
		}
		cancel()
		synctest.Wait()
		for _, q := range []struct {
			path   string
			status int
		}{{"/readyz", 503}, {"/healthz", 200}} {
			time.Sleep(9 * time.Second) // virtual
			c, ok := p.dial()
			if !ok {
				t.Fatal("no connection is taken")
			}
			if status, closes := probe(t, c, q.path); status != q.status || !closes {
				t.Errorf("%s: %d, closes %t", q.path, status, closes)
			}
			c.Close()
		}
		if status, closes := probe(t, c, "/healthz"); status != 200 || !closes { // a connection kept by a balancer
			t.Errorf("a kept connection: %d, closes %t", status, closes)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("it ended too soon: %v", err)
		default:
		}
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		if _, ok := p.dial(); ok {
			t.Error("a connection is taken behind the end")
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// The server keeps idle connections longer than load balancers, which keep them for 60 to 75 s.
func TestFault_G7_IdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p, ended := served(ctx, web.Healthy(), web.ServerConfig{})
		c, _ := p.dial()
		for range 3 {
			if status, _ := probe(t, c, "/"); status != 200 {
				t.Error(status)
			}
			time.Sleep(90 * time.Second) // virtual
		}
		time.Sleep(time.Minute)
		if _, err := c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "EOF") {
			t.Errorf("it is kept too long: %v", err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
