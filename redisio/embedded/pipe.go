package embedded

import (
	"net"
	"sync"
	"time"
)

// bufferedConn is a pipe with writes that do not wait for the reader. A client writes a whole
// pipeline before it reads, while the server already answers its first command: on an unbuffered
// net.Pipe both would deadlock.
type bufferedConn struct {
	net.Conn

	mu     sync.Mutex
	more   sync.Cond // there is something to write, or closed
	buf    []byte
	err    error
	closed bool
	done   sync.WaitGroup
}

func buffered(c net.Conn) net.Conn {
	b := &bufferedConn{Conn: c}
	b.more.L = &b.mu
	b.done.Go(b.pump) // ends with Close, which waits for it
	return b
}

func (b *bufferedConn) pump() {
	var out []byte
	for {
		b.mu.Lock()
		for len(b.buf) == 0 && !b.closed {
			b.more.Wait()
		}
		if b.closed {
			b.mu.Unlock()
			return
		}
		out, b.buf = b.buf, out[:0]
		b.mu.Unlock()
		if _, err := b.Conn.Write(out); err != nil {
			b.mu.Lock()
			b.err = err
			b.mu.Unlock()
		}
	}
}

// Write never blocks.
func (b *bufferedConn) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	if b.closed {
		return 0, net.ErrClosed
	}
	b.buf = append(b.buf, p...)
	b.more.Signal()
	return len(p), nil
}

// SetDeadline sets the read deadline; writes need none.
func (b *bufferedConn) SetDeadline(t time.Time) error { return b.Conn.SetReadDeadline(t) }

// SetWriteDeadline does nothing.
func (b *bufferedConn) SetWriteDeadline(time.Time) error { return nil }

func (b *bufferedConn) Close() error {
	b.mu.Lock()
	b.closed = true
	b.more.Signal()
	b.mu.Unlock()
	err := b.Conn.Close() // wakes the pump from a write
	b.done.Wait()
	return err
}
