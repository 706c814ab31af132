//go:build unix

package web_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/sse"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// watched is a listener that keeps its accepted connections.
type watched struct {
	net.Listener
	mu    sync.Mutex
	conns []*net.TCPConn
}

func (w *watched) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err == nil {
		w.mu.Lock()
		w.conns = append(w.conns, c.(*net.TCPConn))
		w.mu.Unlock()
	}
	return c, err
}

// sendBuffer returns the system's limit for the last connection. Linux reports it twice as large.
func (w *watched) sendBuffer(t testing.TB) (n int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	raw, err := w.conns[len(w.conns)-1].SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		n, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET,
			syscall.SO_SNDBUF)
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func watch(t testing.TB, h http.Handler, cfg web.ServerConfig) (*watched, string) {
	t.Helper()
	l, err := web.Listen("localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{Listener: l}
	_, _ = rig.UpOn(t, w, h, cfg)
	return w, l.Addr().String()
}

// The connection limiter used to hide the TCP connection, so Serve never set a send buffer.
func TestFault_S4_SendBufferBehindServe(t *testing.T) {
	b := rig.NewBoard(t, sse.Config{})
	mux := http.NewServeMux()
	mux.Handle("/events", b.Handler)
	mux.Handle("/plain", web.Healthy())
	mux.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if over, is := c.(interface{ NetConn() net.Conn }); !is {
			t.Errorf("%T hides its connection", c)
		} else if _, is := over.NetConn().(*net.TCPConn); !is {
			t.Errorf("%T has no TCP connection below", c)
		}
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		<-r.Context().Done()
	})
	for path, most := range map[string]int{"/plain": 2 * 256 << 10, "/events": 2 * 64 << 10, "/socket": 2 * 64 << 10} {
		w, addr := watch(t, mux, web.ServerConfig{})
		c := rig.Dial(t, addr)
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		got, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if path == "/events" {
			if _, err := got.Body.Read(make([]byte, 1)); err != nil { // the first bytes were flushed
				t.Fatal(err)
			}
		}
		if n := w.sendBuffer(t); n > most {
			t.Errorf("%s: the system may hold %d bytes", path, n)
		}
		c.Close()
	}
}

// Writes to a client that does not read soon block, because the system buffers little.
func TestFault_S4_UnreadEventsStayOutOfTheSystem(t *testing.T) {
	wrote := make(chan int, 1)
	_, addr := watch(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := rc.Flush(); err != nil {
			t.Error(err)
		}
		n := 0
		for text := make([]byte, 16<<10); ; n += len(text) {
			_ = rc.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
			if _, err := w.Write(text); err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error(err)
				}
				wrote <- n
				return
			}
		}
	}), web.ServerConfig{})
	c := rig.Dial(t, addr)
	_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if n := <-wrote; n > 512<<10 {
		t.Errorf("%d bytes were written to a client that reads nothing", n)
	}
}

// deadlined is a listener with connections that count their write deadlines.
type deadlined struct {
	net.Listener
	n *atomic.Int64
}

func (d deadlined) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	return deadlinedConn{c, d.n}, err
}

type deadlinedConn struct {
	net.Conn
	n *atomic.Int64
}

func (d deadlinedConn) SetWriteDeadline(t time.Time) error {
	d.n.Add(1)
	return d.Conn.SetWriteDeadline(t)
}

// A large reply or event has a new deadline for each 64 KiB, so a steady reader is not
// disconnected.
func TestFault_S4_SteadyReaders(t *testing.T) {
	const size = 1 << 20
	b := rig.NewBoard(t, sse.Config{From: "0"})
	b.Add(t, "large", "", strings.Repeat("x", size))
	mux := http.NewServeMux()
	mux.Handle("/events", b.Handler)
	mux.HandleFunc("/plain", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, size)) // the client notices a short write
	})
	for _, path := range []string{"/plain", "/events"} {
		l, err := web.Listen("localhost:0")
		if err != nil {
			t.Fatal(err)
		}
		var n atomic.Int64
		_, _ = rig.UpOn(t, deadlined{l, &n}, mux, web.ServerConfig{})
		c := rig.Dial(t, l.Addr().String())
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		if _, err := io.CopyN(io.Discard, c, size); err != nil {
			t.Fatal(err)
		}
		if got := n.Load(); got < size>>16 {
			t.Errorf("%s: %d deadlines for %d bytes", path, got, size)
		}
		c.Close()
	}
}

// Each connection returns its slot. A hijacked one returns it when its handler closes it, not
// sooner.
func TestFault_S4_SlotsOfHijackedConnections(t *testing.T) {
	var taken net.Conn
	began := make(chan struct{})
	addr, _ := rig.Up(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/socket" {
			return
		}
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
		}
		taken = c
		close(began)
	}), web.ServerConfig{MaxConnections: 1})
	first := rig.Dial(t, addr)
	fmt.Fprint(first, "GET /socket HTTP/1.1\r\nHost: x\r\n\r\n")
	<-began
	answered := make(chan string, 1)
	go func() { // received below
		c := rig.Dial(t, addr)
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		line, _ := bufio.NewReader(c).ReadString('\n')
		answered <- line
	}()
	select {
	case line := <-answered:
		t.Errorf("a second connection was served: %q", line)
	default:
	}
	taken.Close()
	taken.Close() // closing twice returns one slot
	select {
	case line := <-answered:
		if !strings.HasPrefix(line, "HTTP/1.1 200 ") {
			t.Errorf("%q", line)
		}
	case <-time.After(redistest.Patience):
		t.Error("the slot was lost")
	}
}
