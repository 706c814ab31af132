package gateways

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// ListenError is an address that can't be listened on.
type ListenError struct {
	Addr string
	Err  error
}

func (e *ListenError) Error() string {
	fix := "choose an address of this machine, as localhost:3000"
	switch {
	case errors.Is(e.Err, syscall.EADDRINUSE):
		fix = "another program has that port: end it, or choose another port"
	case errors.Is(e.Err, syscall.EACCES):
		fix = "that port is for root only: choose one from 1024 on"
	}
	return fmt.Sprintf("gateways: can't listen on %s: %v; %s", e.Addr, cause(e.Err), fix)
}

// Unwrap returns the cause.
func (e *ListenError) Unwrap() error { return e.Err }

// cause leaves out of a network error what has been said.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// Listen listens on a TCP address, as localhost:3000, for Serve. With port 0 the system chooses
// one. Its error is a *ListenError.
func Listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, &ListenError{Addr: addr, Err: err}
	}
	return l, nil
}

// limited is a listener that accepts a bounded number of connections at once.
//
// It does not wrap them: a wrapper would hide the TCP connection from all that set its options. The
// server releases the slot of a connection when net/http reports that it is closed. A connection that
// a handler took over is closed by the handler: see hijacked.
type limited struct {
	net.Listener
	sendBuffer int
	slots      chan struct{} // one token per connection
	closing    sync.Once
	closed     chan struct{}
}

func limit(l net.Listener, connections, sendBuffer int) *limited {
	return &limited{Listener: l, sendBuffer: sendBuffer, slots: make(chan struct{}, connections),
		closed: make(chan struct{})}
}

// Accept waits for a slot, then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		l.release()
		return nil, err
	}
	setSendBuffer(c, l.sendBuffer)
	return c, nil
}

// release returns the slot of a connection.
func (l *limited) release() { <-l.slots }

func (l *limited) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// hijacked is a connection that a handler took over. Its slot is free when the handler closes it.
type hijacked struct {
	net.Conn
	closing sync.Once
	release func()
}

func (h *hijacked) Close() error {
	h.closing.Do(h.release)
	return h.Conn.Close()
}

// NetConn returns the connection below, as tls.Conn does.
func (h *hijacked) NetConn() net.Conn { return h.Conn }

const (
	// defaultSendBuffer is enough for 2.5 MB/s at a round trip of 100 ms.
	defaultSendBuffer = 256 << 10
	// streamSendBuffer is that of connections that stream. They are many, and some are slow.
	streamSendBuffer = 64 << 10
)

// setSendBuffer limits what the system holds that was sent and not taken. The system's own limit is
// about 4 MB for each connection. It also wakes a blocked writer only when a third of the buffer is
// free, which takes a slow reader half a minute.
func setSendBuffer(c net.Conn, bytes int) {
	if bytes < 0 {
		return
	}
	for {
		switch over := c.(type) {
		case interface{ SetWriteBuffer(int) error }:
			_ = over.SetWriteBuffer(bytes) // where it can't be set the system's own holds
			return
		case interface{ NetConn() net.Conn }:
			c = over.NetConn()
		default:
			return
		}
	}
}
