//go:build unix

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func init() {
	helpers["main"] = main
	helpers["panic"] = func() {
		s, err := openScreen(os.Stdin, os.Stdout, os.Getenv)
		if err != nil {
			panic(err)
		}
		defer s.close()
		panic("in the middle")
	}
	helpers["panic of another goroutine"] = func() {
		s, err := openScreen(os.Stdin, os.Stdout, os.Getenv)
		if err != nil {
			panic(err)
		}
		go s.guard(func() { panic("in the middle") })
		select {}
	}
}

// terminal is a child process in a pseudo-terminal.
type terminal struct {
	file *os.File // its other end
	cmd  *exec.Cmd
	done chan struct{}

	mu  sync.Mutex
	out bytes.Buffer
}

func inTerminal(t *testing.T, helper, url string, args ...string) *terminal {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), helpEnv+"="+helper, "REDIS_URL="+url)
	file, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 10, Cols: 60})
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{file: file, cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(term.done)
		_, _ = io.Copy(term, file) // ends with an error when the child does
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-term.done
		_ = file.Close()
	})
	return term
}

// Write adds output of the child.
func (p *terminal) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *terminal) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// end waits for the child and returns all of its output and its exit code.
func (p *terminal) end(t *testing.T) (string, int) {
	t.Helper()
	<-p.done
	_ = p.cmd.Wait()
	return p.text(), p.cmd.ProcessState.ExitCode()
}

func TestScreen(t *testing.T) {
	s := newStand(t)
	s.add(t, s.key, "*", "n", "x")
	if err := s.rdb.XGroupCreate(t.Context(), s.key, "g\x1b[31m", "0").Err(); err != nil {
		t.Fatal(err)
	}
	endings := map[string]func(*terminal){
		"q":       func(p *terminal) { _, _ = p.file.WriteString("q") },
		"Ctrl-C":  func(p *terminal) { _, _ = p.file.WriteString("\x03") },
		"SIGINT":  func(p *terminal) { _ = p.cmd.Process.Signal(syscall.SIGINT) },
		"SIGTERM": func(p *terminal) { _ = p.cmd.Process.Signal(syscall.SIGTERM) },
		"SIGQUIT": func(p *terminal) { _ = p.cmd.Process.Signal(syscall.SIGQUIT) },
	}
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := inTerminal(t, "main", s.url, "top", s.key+"*", "-every", "100ms")
			redistest.Soon(t, "it shows the stream", func() bool { return strings.Contains(p.text(), "STREAM") })
			end(p)
			out, code := p.end(t)
			if code != 0 || !strings.HasPrefix(out, enterScreen) || !strings.HasSuffix(out, leaveScreen) {
				t.Errorf("exit code %d, output %q", code, out)
			}
			if strings.Contains(out, "g\x1b[31m") {
				t.Errorf("a name controls the terminal: %q", out)
			}
		})
	}
	t.Run("a larger window shows more", func(t *testing.T) {
		t.Parallel()
		p := inTerminal(t, "main", s.url, "top", s.key+"*", "-every", "1h")
		redistest.Soon(t, "the line is cut", func() bool { return strings.Contains(p.text(), "[q]uit") })
		if strings.Contains(p.text(), "CONSUMERS") || strings.Contains(p.text(), "[n]ame") {
			t.Errorf("a line is longer than the window: %q", p.text())
		}
		if err := pty.Setsize(p.file, &pty.Winsize{Rows: 10, Cols: 400}); err != nil {
			t.Fatal(err)
		}
		redistest.Soon(t, "the whole line", func() bool { return strings.Contains(p.text(), "CONSUMERS") })
		_, _ = p.file.WriteString("n")
		redistest.Soon(t, "a key sorts", func() bool { return strings.Contains(p.text(), "sort: name") })
		_, _ = p.file.WriteString("q")
		p.end(t)
	})
	for _, helper := range []string{"panic", "panic of another goroutine"} {
		t.Run(helper, func(t *testing.T) {
			t.Parallel()
			out, code := inTerminal(t, helper, s.url).end(t)
			screen, message, left := strings.Cut(out, leaveScreen)
			if code != 2 || !left || strings.Contains(screen, "panic:") || !strings.Contains(message, "in the middle") {
				t.Errorf("exit code %d, output %q", code, out)
			}
		})
	}
}

func TestScreenKeepsWithinTheWindow(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := &screen{out: w}
	f := make(frame, 30)
	for i := range f {
		f[i] = shown{strings.Repeat("ü", 50), alarming}
	}
	if err := s.draw(f, shown{"status", faint}, [2]int{20, 5}); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(out), "\x1b[K")
	if len(lines) != 6 || strings.Count(lines[0], "ü") != 20 || !strings.Contains(lines[3], "27 more lines") ||
		!strings.Contains(lines[4], "status") || strings.Contains(lines[0], "\x1b[31m") {
		t.Errorf("%q", lines)
	}
}
