package main

import (
	"context"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/flow"
)

// watch runs a graph and shows its progress. It drains the graph when over returns true. It returns
// after the graph has ended, by itself, by the drain, or because ctx is done.
func watch(
	ctx context.Context,
	screen *cli.Screen,
	g *flow.Graph,
	line func(flow.Snapshot) string,
	over func() bool,
) (flow.Snapshot, error) {
	running, err := g.Start(ctx)
	if err != nil {
		return flow.Snapshot{}, err
	}
	defer screen.End()
	every := time.NewTicker(100 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-running.Done():
			snap := snapshot(ctx, running)
			screen.Show(line(snap))
			return snap, running.Wait()
		case <-every.C:
		}
		screen.Show(line(snapshot(ctx, running)))
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
