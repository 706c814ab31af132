package faulttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// worker is one worker process. It dies with this one.
type worker struct {
	cmd    *exec.Cmd
	errors tail          // the end of its standard error
	done   chan struct{} // closed when it has ended and its output has been read
	spoken chan struct{} // closed at its first word
	began  time.Time
	wanted bool // the trial killed it or asked it to end

	mu      sync.Mutex
	line    []byte // the beginning of the next word
	now     word
	most    word          // maxima of goroutines, memory and entries in flight
	started time.Duration // until its first word
	working time.Time     // when it had handled a message
	stopped bool          // the trial suspends it, so its delays say nothing about the machine
	first   word          // the values after it had warmed up
	since   word          // the maxima since then
}

// warm is how long a worker must have worked before its memory and goroutines become the baseline.
const warm = 1500 * time.Millisecond

// hire starts a worker process.
func hire(j job) (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &worker{
		cmd: exec.Command(self), done: make(chan struct{}), spoken: make(chan struct{}), began: time.Now(),
	}
	w.cmd.Env = append(os.Environ(), j.encode())
	w.cmd.Stdout, w.cmd.Stderr = w, &w.errors
	w.cmd.WaitDelay = time.Minute // do not wait for a grandchild that holds the pipes
	dieWithParent(w.cmd)
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process
		_ = w.cmd.Wait() // the process state is read instead
		close(w.done)
	}()
	return w, nil
}

// Write receives the words of the worker, one per line. A word that a kill cut off is skipped.
func (w *worker) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line = append(w.line, p...)
	for {
		line, rest, whole := bytes.Cut(w.line, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		w.line = rest
		var said word
		if json.Unmarshal(line, &said) != nil {
			continue
		}
		if w.now.Goroutines == 0 {
			w.started = time.Since(w.began)
			close(w.spoken)
		}
		if w.working.IsZero() && said.Handled > 0 {
			w.working = time.Now()
		}
		if w.first.Goroutines == 0 && !w.working.IsZero() && time.Since(w.working) > warm {
			w.first = said
		}
		w.now = said
		w.most.raise(said)
		if w.first.Goroutines > 0 {
			w.since.raise(said)
		}
	}
}

// raise sets each value to the higher of the two.
func (most *word) raise(said word) {
	most.Goroutines = max(most.Goroutines, said.Goroutines)
	most.Resident = max(most.Resident, said.Resident)
	most.InFlight = max(most.InFlight, said.InFlight)
}

// last returns its latest word. It does not change after the worker's end.
func (w *worker) last() word {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *worker) pid() int { return w.cmd.Process.Pid }

// named returns a part of the name of its consumer.
func (w *worker) named() string { return "-" + strconv.Itoa(w.pid()) + "-" }

// kill kills the worker without cleanup, as a crash does, and waits for its end.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill() // it may have ended already
	<-w.done
}

// ready waits for the worker's first word, or its end.
func (w *worker) ready(ctx context.Context) error {
	select {
	case <-w.spoken:
	case <-w.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

func (w *worker) ended() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// within waits at most d for the worker's end, and reports whether it ended.
func (w *worker) within(d time.Duration) bool {
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-w.done:
		return true
	case <-late.C:
		return false
	}
}

func (w *worker) signal(s os.Signal) error {
	if s == nil {
		return errors.New("faulttest: the scenarios need Unix signals, which this system lacks")
	}
	err := w.cmd.Process.Signal(s)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// suspend stops a worker until it gets the signal to resume.
func (w *worker) suspend(t *trial) {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	t.must(w.signal(sigPause))
}

// why returns the reason that a worker gave for its end.
func (w *worker) why() string {
	if err := w.last().Err; err != "" {
		return err
	}
	lines := strings.Split(strings.TrimSpace(w.errors.text()), "\n")
	return fmt.Sprintf("%v: %s", w.cmd.ProcessState, strings.Join(lines[max(0, len(lines)-8):], "\n"))
}

// tail keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if len(t.buf) > 2*tailSize {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-tailSize:]...)
	}
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
