//go:build !linux

package faulttest

import "os/exec"

// dieWithParent does nothing, because only Linux supports it.
func dieWithParent(*exec.Cmd) {}

// openFiles is not available on this system.
func openFiles(int) int { return 0 }
