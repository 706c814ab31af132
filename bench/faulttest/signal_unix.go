//go:build unix

package faulttest

import "syscall"

// pause suspends the process, as an overloaded host does.
func (p *process) pause() error { return p.signal(syscall.SIGSTOP) }

// resume continues the process.
func (p *process) resume() error { return p.signal(syscall.SIGCONT) }

// terminate asks the process to end, as Kubernetes does.
func (p *process) terminate() error { return p.signal(syscall.SIGTERM) }
