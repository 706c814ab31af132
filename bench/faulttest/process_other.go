//go:build !linux

package faulttest

import "os/exec"

// dieWithParent does nothing, because only Linux supports it.
func dieWithParent(*exec.Cmd) {}

// files is not available on this system.
func (p *process) files() int { return 0 }
