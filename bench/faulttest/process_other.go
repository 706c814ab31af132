//go:build !linux

package faulttest

import "os/exec"

// dieWithParent does nothing here: only Linux can be asked for it.
func dieWithParent(*exec.Cmd) {}

// files is not known here.
func (p *process) files() int { return 0 }
