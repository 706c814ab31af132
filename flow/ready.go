package flow

import (
	"errors"
	"fmt"
)

// ErrNotReady is wrapped by what Running.Ready returns.
var ErrNotReady = errors.New("flow: not ready")

// Prober is a Reader that can tell whether its backend answers, as by when it last did. Ready is
// called at any time after Open, does no I/O, and returns nil or what is wrong.
type Prober interface {
	Ready() error
}

// Ready tells whether the graph does what it is there for: it is active (or paused), all its
// sources are open, and none of them has lost its backend. It is what a readiness probe asks; the
// error says what is wrong and is ErrNotReady.
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

// ready asks the source's newest Reader. A source that has come to its end is no reason to complain.
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

// Ready tells whether all graphs that have not come to a clean end are ready; it joins what Running.Ready returns for
// those that are not.
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
