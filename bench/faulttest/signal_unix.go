//go:build unix

package faulttest

import "syscall"

// pause stops the process without ending it, as an overloaded host does.
func (p *process) pause() error { return p.signal(syscall.SIGSTOP) }

// resume lets it go on.
func (p *process) resume() error { return p.signal(syscall.SIGCONT) }

// terminate asks it to end, as Kubernetes does.
func (p *process) terminate() error { return p.signal(syscall.SIGTERM) }
