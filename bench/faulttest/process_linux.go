package faulttest

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill the child when this process dies, however it dies. In a process group of its own the
// child does not get the terminal's Ctrl-C: it is ended in order.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
