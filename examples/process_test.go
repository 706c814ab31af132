package examples

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// process is a running example.
type process struct {
	name           string
	cmd            *exec.Cmd
	tmp            string // its folder for temporary files
	stdout, stderr output
	done           chan struct{}
}

// start starts an example with env as its whole environment. It is killed at the test's end if it
// still runs.
func start(t *testing.T, env []string, stdin io.Reader, name string, args ...string) *process {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{
		name: name,
		cmd:  exec.Command(filepath.Join(dir, name), args...),
		tmp:  t.TempDir(),
		done: make(chan struct{}),
	}
	p.cmd.Env = append([]string{"TMPDIR=" + p.tmp}, env...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = stdin, &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	waiting.Go(func() {
		_ = p.cmd.Wait() // the test checks the exit status
		close(p.done)
	})
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		waiting.Wait()
		if t.Failed() {
			t.Logf(
				"%s %s\n--- stdout\n%s--- stderr\n%s",
				name,
				strings.Join(args, " "),
				p.stdout.text(),
				p.stderr.text(),
			)
		}
	})
	return p
}

// restart starts an example at the address of one that has ended. Another process may have a connection from
// that port for a moment.
func restart(t *testing.T, env []string, url, name string, args ...string) *process {
	t.Helper()
	at := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/")
	args = append(args, "-addr", at)
	p := start(t, env, nil, name, args...)
	redistest.Soon(t, name+" serves at "+at, func() bool {
		if p.ended() && strings.Contains(p.stderr.text(), "the port is in use") {
			p = start(t, env, nil, name, args...)
		}
		return openPattern.MatchString(p.stderr.text())
	})
	return p
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// wait waits for the end and returns the exit status; -1 if a signal ended the process.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(redistest.Patience):
		t.Fatalf("%s does not end", p.name)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

// run runs an example, requires the exit status 0, and returns its standard output.
func run(t *testing.T, env []string, stdin io.Reader, name string, args ...string) string {
	t.Helper()
	p := start(t, env, stdin, name, args...)
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	return p.stdout.text()
}

// output collects the output of a process.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
