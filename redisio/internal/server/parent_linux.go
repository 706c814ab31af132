package server

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill the server when this process dies, however it dies. In a
// process group of its own it does not get the terminal's Ctrl-C: whoever started it still wants to
// drain into it.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
