package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sync/semaphore"
)

// ListenError reports an address that can't be listened on.
type ListenError struct {
	Addr string
	Err  error
}

func (e *ListenError) Error() string {
	fix := "choose an address of this machine, such as localhost:3000"
	switch {
	case errors.Is(e.Err, syscall.EADDRINUSE):
		fix = "the port is in use: stop the other program or choose another"
	case errors.Is(e.Err, syscall.EACCES):
		fix = "the port requires root: choose one from 1024 up"
	}
	return fmt.Sprintf("gateways: can't listen on %s: %v; %s", e.Addr, cause(e.Err), fix)
}

// Unwrap returns the cause.
func (e *ListenError) Unwrap() error { return e.Err }

// cause strips the parts of a network error that the message already has.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// Listen listens on a TCP address, such as localhost:3000, for Serve. With port 0 the system
// chooses a free port. It returns a *ListenError.
func Listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, &ListenError{Addr: addr, Err: err}
	}
	return l, nil
}

// limited is a listener that limits the number of open connections.
//
// It does not wrap the connections, because a wrapper would hide the TCP connection from callers
// that set its options. The server releases a connection's slot when net/http reports it closed. A
// hijacked connection is closed by its handler: see hijacked.
type limited struct {
	net.Listener
	sendBuffer int
	slots      *semaphore.Weighted // one per connection
	closed     context.Context     // done when the listener is closed
	close      context.CancelFunc
}

func limit(l net.Listener, connections, sendBuffer int) *limited {
	closed, end := context.WithCancel(context.Background())
	return &limited{Listener: l, sendBuffer: sendBuffer, slots: semaphore.NewWeighted(int64(connections)),
		closed: closed, close: end}
}

// Accept waits for a slot, then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	if l.slots.Acquire(l.closed, 1) != nil {
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		l.Release()
		return nil, err
	}
	setSendBuffer(c, l.sendBuffer)
	return c, nil
}

// Release returns the slot of a connection.
func (l *limited) Release() { l.slots.Release(1) }

func (l *limited) Close() error {
	l.close()
	return l.Listener.Close()
}

// hijacked is a connection that a handler took over. Close releases its slot.
type hijacked struct {
	net.Conn
	closing sync.Once
	release func()
}

func (h *hijacked) Close() error {
	h.closing.Do(h.release)
	return h.Conn.Close()
}

// NetConn returns the underlying connection, like tls.Conn.
func (h *hijacked) NetConn() net.Conn { return h.Conn }

const (
	// defaultSendBuffer is enough for 2.5 MB/s at a round trip of 100 ms.
	defaultSendBuffer = 256 << 10
	// streamSendBuffer is the limit for streaming connections. There are many of them, and some are
	// slow.
	streamSendBuffer = 64 << 10
)

// setSendBuffer limits what the operating system buffers for a connection. Its default is about 4
// MB per connection. With the default it also wakes a blocked writer only when a third of the
// buffer is free, which takes a slow reader half a minute.
func setSendBuffer(c net.Conn, bytes int) {
	if bytes < 0 {
		return
	}
	for {
		switch over := c.(type) {
		case interface{ SetWriteBuffer(int) error }:
			_ = over.SetWriteBuffer(bytes) // if it can't be set, the system's default applies
			return
		case interface{ NetConn() net.Conn }:
			c = over.NetConn()
		default:
			return
		}
	}
}
