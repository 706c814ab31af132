package ws

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// readBuffer and writeBuffer are the buffers of a socket; those of net/http have 4 KiB each.
	// Larger reads bypass the first. Only control frames, of at most 131 bytes, use the second.
	readBuffer  = 512
	writeBuffer = 256
)

// wire is the connection below a socket. Frames that are ready, and shared by many sockets, are
// written to it directly. The WebSocket library itself writes only control frames, each with one
// Write.
type wire struct {
	net.Conn
	timeout time.Duration // of a write
	live    *liveness

	mu   sync.Mutex // held while writing, which timeout bounds
	shut bool       // a close frame was sent: no frame may follow
}

// sendBuffer is how much data the operating system may buffer for a client that does not read. Its
// own limit is some megabytes for each connection, which is too much with many slow clients.
const sendBuffer = 64 << 10

// waited is the duration from which a write is taken to have waited for the client.
const waited = 5 * time.Millisecond

// Write is called by the WebSocket library.
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
		w.live.moved.Store(w.live.clock.now())
	}
	return n, err
}

// narrow limits the send buffer of the operating system to sendBuffer, where that is possible.
func narrow(conn net.Conn) {
	for {
		over, is := conn.(interface{ NetConn() net.Conn }) // TLS, and the connections of web.Serve
		if !is {
			break
		}
		conn = over.NetConn()
	}
	if tcp, is := conn.(*net.TCPConn); is {
		_ = tcp.SetWriteBuffer(sendBuffer)
	}
}

// upgrade is a ResponseWriter. Its Hijack returns a wire with small buffers.
type upgrade struct {
	http.ResponseWriter
	timeout time.Duration
	live    *liveness
	wire    *wire // set by Hijack
}

// Hijack takes over the connection from net/http.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	narrow(conn)
	u.wire = &wire{Conn: conn, timeout: u.timeout, live: u.live}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered()) // sent by the client right after its request
	br := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(early), u.wire), max(readBuffer, len(early)))
	_, _ = br.Peek(len(early))
	return u.wire, bufio.NewReadWriter(br, bufio.NewWriterSize(u.wire, writeBuffer)), nil
}
