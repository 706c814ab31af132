// Package narrow is for tests of clients that don't read: what they have not read is held up soon.
package narrow

import "net"

// Listener is a listener whose connections hold little that was not read.
type Listener struct{ net.Listener }

// Accept accepts a connection, and makes it narrow.
func (n Listener) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(32 << 10)
	}
	return c, err
}
