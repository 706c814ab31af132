//go:build unix

package conn

import (
	"net"
	"syscall"
)

// quiet reports whether a connection is open and has nothing to read. It peeks without waiting, and
// returns true if it can't peek.
func quiet(conn net.Conn) bool {
	sys, is := conn.(syscall.Conn)
	if !is {
		return true
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return false
	}
	var buf [1]byte
	var n int
	var peeked error
	err = raw.Read(func(fd uintptr) bool {
		n, _, peeked = syscall.Recvfrom(int(fd), buf[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	return err == nil && n <= 0 && (peeked == syscall.EAGAIN || peeked == syscall.EWOULDBLOCK)
}
