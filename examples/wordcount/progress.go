package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/flow"
)

// screen shows progress and logs on standard error. On a terminal, progress is one line that is
// overwritten again and again. Elsewhere it is a plain line every few seconds.
type screen struct {
	f    *os.File
	tty  bool
	mu   sync.Mutex
	line string    // on a terminal: the current line of progress
	last time.Time // elsewhere: when the last line was written
}

const plainEvery = 3 * time.Second

func newScreen(f *os.File) *screen { return &screen{f: f, tty: cli.IsTerminal(f), last: time.Now()} }

func (s *screen) log() *slog.Logger { return cli.Console(s, s.tty) }

// Write writes a line of the log above the progress.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line == "" {
		return s.f.Write(p)
	}
	if _, err := fmt.Fprintf(s.f, "\r\x1b[K%s%s", p, s.line); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *screen) show(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.tty:
		s.line = line
		fmt.Fprint(s.f, "\r\x1b[K", line)
	case time.Since(s.last) >= plainEvery:
		s.last = time.Now()
		fmt.Fprintln(s.f, line)
	}
}

// end keeps the line of progress, and moves on to the next line.
func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line != "" {
		fmt.Fprintln(s.f)
	}
	s.line = ""
}

// watch runs a graph and shows its progress. It drains the graph when over returns true. It returns
// after the graph has ended, by itself, by the drain, or because ctx is done.
func (s *screen) watch(
	ctx context.Context,
	g *flow.Graph,
	line func(flow.Snapshot) string,
	over func() bool,
) (flow.Snapshot, error) {
	running, err := g.Start(ctx)
	if err != nil {
		return flow.Snapshot{}, err
	}
	defer s.end()
	every := time.NewTicker(100 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-running.Done():
			snap := snapshot(ctx, running)
			s.show(line(snap))
			return snap, running.Wait()
		case <-every.C:
		}
		s.show(line(snapshot(ctx, running)))
		if over() {
			_, _ = running.Drain(context.WithoutCancel(ctx)) // Wait returns the result
		}
	}
}

// snapshot waits at most a second for the server's numbers.
func snapshot(ctx context.Context, running *flow.Running) flow.Snapshot {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return running.Snapshot(ctx)
}

// loadLine formats the progress of load.
func loadLine(s flow.Snapshot) string {
	return fmt.Sprintf("loading: %d lines", s.Sources[0].Settled)
}

// countLine formats the progress of count, for all processes that share it.
func countLine(total int64) func(flow.Snapshot) string {
	return func(s flow.Snapshot) string {
		src := s.Sources[0]
		done := int64(src.Acked + src.Dropped + src.Dead)
		if src.Lag >= 0 && src.Pending >= 0 {
			done = max(done, total-src.Lag-src.Pending) // the in-process server has no true lag: then only our own
		}
		line := fmt.Sprintf(
			"counted %d of %d lines, %d in flight, %d words",
			done,
			total,
			src.InFlight,
			stage(s, "words").Out,
		)
		if s.State == flow.Draining {
			line = "draining: " + line
		}
		return line
	}
}

func stage(s flow.Snapshot, name string) flow.StageSnapshot {
	for _, st := range s.Stages {
		if st.Name == name {
			return st
		}
	}
	return flow.StageSnapshot{}
}
