//go:build unix

package faulttest

import (
	"os"
	"syscall"
)

// The signals that suspend a worker, as an overloaded host does, continue it, and ask it to end, as
// Kubernetes does.
var sigPause, sigResume, sigTerm os.Signal = syscall.SIGSTOP, syscall.SIGCONT, syscall.SIGTERM
