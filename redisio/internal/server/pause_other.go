//go:build !unix

package server

import "errors"

var errNoSignals = errors.New("this system has no SIGSTOP")

// Pause is not possible here.
func (s *Server) Pause() error { return errNoSignals }

// Resume is not possible here.
func (s *Server) Resume() error { return errNoSignals }
