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

// Supervisor runs graphs by name, for a service that has several or changes them while it runs. The zero value is not
// usable; make one with NewSupervisor.
type Supervisor struct {
	log *slog.Logger
	ctx context.Context

	mu     sync.Mutex
	graphs map[string]*Running
	closed bool
}

// SupervisorOption sets something of a Supervisor.
type SupervisorOption func(*Supervisor)

// SupervisorLog gives the supervisor a logger. Defaults to the one that [Logger] describes. Graphs log to their own.
func SupervisorLog(l *slog.Logger) SupervisorOption { return func(s *Supervisor) { s.log = l } }

// NewSupervisor makes a supervisor. When ctx is done all its graphs drain; its values reach their handlers.
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

// Add starts a graph under its name. A name that is running is refused (ErrRunning); one whose graph has ended is free
// again.
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

// Get returns a graph that was added and not removed; it may have ended.
func (s *Supervisor) Get(name string) (*Running, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.graphs[name]
	if !ok {
		return nil, fmt.Errorf("flow: graph %q: %w", name, ErrUnknownGraph)
	}
	return r, nil
}

// Names returns the names of the graphs, sorted.
func (s *Supervisor) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.graphs))
}

// Drain drains a graph and keeps it, ended, for Snapshot and Health. It waits for the end.
func (s *Supervisor) Drain(ctx context.Context, name string) (DrainReport, error) {
	r, err := s.Get(name)
	if err != nil {
		return DrainReport{}, err
	}
	return r.Drain(ctx)
}

// Stop stops a graph now and keeps it, ended. It waits for the end.
func (s *Supervisor) Stop(name string) error {
	r, err := s.Get(name)
	if err != nil {
		return err
	}
	return r.Stop()
}

// Remove drains a graph and forgets it.
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

// Pause makes a graph's sources read nothing until Resume.
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

// Snapshot returns the snapshots of all graphs, by name.
func (s *Supervisor) Snapshot(ctx context.Context) []Snapshot {
	var all []Snapshot
	for _, r := range s.all() {
		all = append(all, r.Snapshot(ctx))
	}
	return all
}

// Health returns nil when each graph runs or has come to a clean end, and else an error that names those that have not,
// with why. It asks no backend, so it may be called often.
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

// Shutdown drains all graphs at the same time and refuses new ones. It returns their errors,
// joined, and takes no longer than each graph's DrainTimeout or ctx.
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

// Wait waits until all graphs have ended, and returns their errors, joined.
func (s *Supervisor) Wait() error {
	var errs []error
	for _, r := range s.all() {
		errs = append(errs, r.Wait())
	}
	return errors.Join(errs...)
}
