//go:build unix

package ws_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"

	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/gateways/ws"
)

// accepted is a listener that hands out its accepted connections.
type accepted struct {
	net.Listener
	conns chan *net.TCPConn
}

func (a accepted) Accept() (net.Conn, error) {
	c, err := a.Listener.Accept()
	if err == nil {
		a.conns <- c.(*net.TCPConn)
	}
	return c, err
}

// Behind web.Serve, the send buffer of a socket used to be never set.
func TestFault_S4_SendBufferOfSockets(t *testing.T) {
	n := newStand(t).node(t, ws.HubConfig{})
	l, err := web.Listen("localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan *net.TCPConn, 1)
	serveOn(t, accepted{l, conns}, n.hub)
	behind := &node{hub: n.hub, srv: &httptest.Server{Listener: l}}
	if res, _, _ := behind.handshake(t, ""); res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res.Status)
	}
	raw, err := (<-conns).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	if err := raw.Control(func(fd uintptr) {
		size, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET,
			syscall.SO_SNDBUF)
	}); err != nil {
		t.Fatal(err)
	}
	if size > 2*64<<10 { // Linux reports it twice as large
		t.Errorf("the system may hold %d bytes", size)
	}
}
