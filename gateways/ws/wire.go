package ws

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// readBuffer and writeBuffer are what a socket that is quiet costs; net/http's would be 4 KiB
	// each. What is larger is read past the first, and never goes through the second: it is for
	// control frames, of at most 131 bytes.
	readBuffer  = 512
	writeBuffer = 256
)

// wire is the connection below a socket. Frames that are ready to be sent, and shared by many
// sockets, go straight to it; what the WebSocket library writes by itself is control frames, each
// by one Write.
type wire struct {
	net.Conn
	timeout time.Duration // of a write
	clock   *clock

	mu   sync.Mutex // held while writing, which timeout bounds
	shut bool       // a close frame has gone out: nothing may follow it

	moved atomic.Int64 // when a write went through that had to wait, for the client to take what was sent before
}

// sendBuffer is how much the system may keep that was sent to a client and not taken. The system's
// own limit is some megabytes for each connection, which is much for many slow clients.
const sendBuffer = 64 << 10

// waited is how long a write takes that had to wait for the client.
const waited = 5 * time.Millisecond

// Write is for the library.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(p) > 0 && p[0] == closeFrame {
		w.shut = true
	}
	return w.write(p)
}

// send writes frames.
func (w *wire) send(frames []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shut {
		return net.ErrClosed
	}
	_, err := w.write(frames)
	return err
}

func (w *wire) write(p []byte) (int, error) {
	began := time.Now()
	if err := w.Conn.SetWriteDeadline(began.Add(w.timeout)); err != nil {
		return 0, err
	}
	n, err := w.Conn.Write(p)
	if err == nil && time.Since(began) > waited {
		w.moved.Store(w.clock.now())
	}
	return n, err
}

// narrow has the system keep no more than sendBuffer. Where that can't be set it goes without.
func narrow(conn net.Conn) {
	for {
		over, is := conn.(interface{ NetConn() net.Conn }) // TLS, and what gateways.Serve hands out
		if !is {
			break
		}
		conn = over.NetConn()
	}
	if tcp, is := conn.(*net.TCPConn); is {
		_ = tcp.SetWriteBuffer(sendBuffer)
	}
}

// upgrade is a ResponseWriter that hands out a wire, with buffers of its own.
type upgrade struct {
	http.ResponseWriter
	timeout time.Duration
	clock   *clock
	wire    *wire // once it was hijacked
}

// Hijack takes the connection from net/http.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	narrow(conn)
	u.wire = &wire{Conn: conn, timeout: u.timeout, clock: u.clock}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered()) // what the client sent right behind its request
	br := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(early), u.wire), max(readBuffer, len(early)))
	_, _ = br.Peek(len(early))
	return u.wire, bufio.NewReadWriter(br, bufio.NewWriterSize(u.wire, writeBuffer)), nil
}
