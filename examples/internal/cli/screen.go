package cli

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Screen shows progress and logs on standard error. On a terminal, progress is one line that is
// overwritten again and again. Elsewhere it is a plain line every few seconds.
type Screen struct {
	f    *os.File
	tty  bool
	mu   sync.Mutex
	line string    // on a terminal: the current line of progress
	last time.Time // elsewhere: when the last line was written
}

const plainEvery = 3 * time.Second

// erase is what makes a terminal erase the current line.
const erase = "\r\x1b[K"

// NewScreen returns a screen that writes to f.
func NewScreen(f *os.File) *Screen { return &Screen{f: f, tty: IsTerminal(f), last: time.Now()} }

// Log returns a log. Its lines appear above the progress.
func (s *Screen) Log() *slog.Logger { return Console(s, s.tty) }

// Write writes a line of the log above the progress.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line == "" {
		return s.f.Write(p)
	}
	if _, err := fmt.Fprintf(s.f, "%s%s%s", erase, p, s.line); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Show shows a line of progress.
func (s *Screen) Show(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.tty:
		s.line = line
		fmt.Fprint(s.f, erase, line)
	case time.Since(s.last) >= plainEvery:
		s.last = time.Now()
		fmt.Fprintln(s.f, line)
	}
}

// End keeps the line of progress, and moves on to the next line.
func (s *Screen) End() { s.leave("\n") }

// Clear removes the line of progress.
func (s *Screen) Clear() { s.leave(erase) }

func (s *Screen) leave(how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line != "" {
		fmt.Fprint(s.f, how)
	}
	s.line = ""
}
