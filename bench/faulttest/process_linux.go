package faulttest

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel kill the child when this process dies, for any reason. The child
// is in its own process group, so it does not receive the terminal's Ctrl-C and can end cleanly.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// openFiles returns how many files a process has open.
func openFiles(pid int) int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0 // unknown
	}
	return len(entries)
}
