package flow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/streamerson/streamerson-go/flow/internal/run"
)

// Supervisor runs graphs by name, for services that have several graphs or change them at run time.
// The zero value is not usable; use NewSupervisor.
type Supervisor struct {
	log *slog.Logger
	ctx context.Context

	mu     sync.Mutex
	graphs map[string]*Running
	closed bool
}

// SupervisorOption configures a Supervisor.
type SupervisorOption func(*Supervisor)

// SupervisorLog sets the supervisor's logger. Defaults to the one that [Logger] describes. Graphs
// use their own loggers.
func SupervisorLog(l *slog.Logger) SupervisorOption { return func(s *Supervisor) { s.log = l } }

// NewSupervisor makes a supervisor. When ctx is done, all its graphs drain. Their handlers see the
// values of ctx.
func NewSupervisor(ctx context.Context, opts ...SupervisorOption) *Supervisor {
	s := &Supervisor{ctx: ctx, graphs: make(map[string]*Running)}
	for _, o := range opts {
		o(s)
	}
	if s.log == nil {
		s.log = Logger(ctx)
	}
	return s
}

// Add starts a graph under its name. It returns ErrRunning if a graph of that name is running. The
// name of a graph that has ended is free again.
func (s *Supervisor) Add(g *Graph) (*Running, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.ctx.Err() != nil {
		return nil, fmt.Errorf("flow: add graph %q: %w", g.Name(), ErrStopped)
	}
	if old, ok := s.graphs[g.Name()]; ok && old.State() != Ended {
		return nil, fmt.Errorf("flow: add graph %q: %w", g.Name(), ErrRunning)
	}
	r, err := g.Start(s.ctx)
	if err != nil {
		return nil, err
	}
	s.graphs[g.Name()] = r
	return r, nil
}

// Get returns a graph that was added and not removed. The graph may have ended.
func (s *Supervisor) Get(name string) (*Running, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.graphs[name]
	if !ok {
		return nil, fmt.Errorf("flow: graph %q: %w", name, ErrUnknownGraph)
	}
	return r, nil
}

// Names returns the sorted names of the graphs.
func (s *Supervisor) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.graphs))
}

// Drain drains a graph and waits for its end. The ended graph stays available to Snapshot and
// Health.
func (s *Supervisor) Drain(ctx context.Context, name string) (DrainReport, error) {
	r, err := s.Get(name)
	if err != nil {
		return DrainReport{}, err
	}
	return r.Drain(ctx)
}

// Stop stops a graph now and waits for its end. The ended graph stays available to Snapshot and
// Health.
func (s *Supervisor) Stop(name string) error {
	r, err := s.Get(name)
	if err == nil {
		err = r.Stop()
	}
	return err
}

// Remove drains a graph and removes it.
func (s *Supervisor) Remove(ctx context.Context, name string) (DrainReport, error) {
	r, err := s.Get(name)
	if err != nil {
		return DrainReport{}, err
	}
	report, err := r.Drain(ctx)
	s.mu.Lock()
	if s.graphs[name] == r {
		delete(s.graphs, name)
	}
	s.mu.Unlock()
	return report, err
}

// Pause keeps a graph's sources from reading until Resume.
func (s *Supervisor) Pause(name string) error { return s.with(name, (*Running).Pause) }

// Resume undoes Pause.
func (s *Supervisor) Resume(name string) error { return s.with(name, (*Running).Resume) }

func (s *Supervisor) with(name string, f func(*Running)) error {
	r, err := s.Get(name)
	if err == nil {
		f(r)
	}
	return err
}

// Snapshot returns the snapshots of all graphs, sorted by name.
func (s *Supervisor) Snapshot(ctx context.Context) []Snapshot {
	var all []Snapshot
	for _, r := range s.all() {
		all = append(all, r.Snapshot(ctx))
	}
	return all
}

// Health returns nil if each graph runs or has ended cleanly. Otherwise it returns the joined
// errors of the graphs that have not. It makes no call to a backend, so it may be called often.
func (s *Supervisor) Health() error {
	var errs []error
	for _, r := range s.all() {
		if r.State() != Ended {
			continue
		}
		if err := r.Wait(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *Supervisor) all() []*Running {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Running, 0, len(s.graphs))
	for _, name := range slices.Sorted(maps.Keys(s.graphs)) {
		all = append(all, s.graphs[name])
	}
	return all
}

// Shutdown drains all graphs concurrently and refuses new ones. It returns their joined errors. It
// takes at most as long as each graph's DrainTimeout, or until ctx is done.
func (s *Supervisor) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	all := s.all()
	errs := make([]error, len(all))
	var drains run.Group
	for i, r := range all {
		drains.Go(func() { _, errs[i] = r.Drain(ctx) })
	}
	drains.Wait()
	s.log.Info("supervisor shut down", "graphs", len(all))
	return errors.Join(errs...)
}

// Wait waits until all graphs have ended, and returns their joined errors.
func (s *Supervisor) Wait() error {
	var errs []error
	for _, r := range s.all() {
		errs = append(errs, r.Wait())
	}
	return errors.Join(errs...)
}
