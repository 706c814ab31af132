package flow

import (
	"errors"
	"fmt"
)

// ErrNotReady is wrapped by the errors of Running.Ready.
var ErrNotReady = errors.New("flow: not ready")

// Prober is a Reader that can report whether its backend responds, for example by the time of the
// last response. Ready may be called at any time after Open and does no I/O. It returns nil or the
// problem.
type Prober interface {
	Ready() error
}

// Ready reports whether the graph works: it is active (or paused), all its sources are open, and
// none of them has lost its backend. Use it for a readiness probe. The error describes the problem
// and wraps ErrNotReady.
func (r *Running) Ready() error {
	if s := r.State(); s != Active && s != Paused {
		return fmt.Errorf("%w: graph %q is %v", ErrNotReady, r.graph.name, s)
	}
	var errs []error
	for _, s := range r.sources {
		if err := s.ready(); err != nil {
			errs = append(errs, fmt.Errorf("%w: graph %q, source %q: %w", ErrNotReady, r.graph.name, s.st.name, err))
		}
	}
	return errors.Join(errs...)
}

var errNotOpen = errors.New("not open yet")

// ready asks the source's newest Reader. A source that has ended is ready.
func (s *sourceRun) ready() error {
	if !s.opened.Load() {
		return errNotOpen
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sessions) == 0 {
		return nil
	}
	if p, ok := s.sessions[len(s.sessions)-1].reader.(Prober); ok {
		return p.Ready()
	}
	return nil
}

// Ready reports whether all graphs are ready, except those that have ended cleanly. It joins the
// errors of Running.Ready.
func (s *Supervisor) Ready() error {
	var errs []error
	for _, r := range s.all() {
		if r.State() == Ended && r.Wait() == nil {
			continue
		}
		errs = append(errs, r.Ready())
	}
	return errors.Join(errs...)
}
