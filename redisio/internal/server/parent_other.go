//go:build !linux

package server

import "os/exec"

// dieWithParent does nothing here: only Linux can be asked for it.
func dieWithParent(*exec.Cmd) {}
