//go:build unix

package server

import "syscall"

// Pause stops the process without ending it, as an overloaded host or a debugger does.
func (s *Server) Pause() error { return s.signal(syscall.SIGSTOP) }

// Resume lets it go on.
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) error {
	p, err := s.running()
	if err != nil {
		return err
	}
	return p.cmd.Process.Signal(sig)
}
