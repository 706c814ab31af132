package source

import "time"

// defaultReadyWithin is longer than a usual failover of Redis, and than the pauses between the
// round trips of a reader with the default lease.
const defaultReadyWithin = 30 * time.Second

// Ready reports to a readiness probe whether Redis answers (see flow.Prober).
func (s *streamReader[T]) Ready() error {
	if !s.open.Load() {
		return nil // the graph already reports that
	}
	return s.r.Ready(s.plan.readyWithin)
}

// Ready reports to a readiness probe whether Redis answers.
func (t *tailReader[T]) Ready() error {
	if t.r == nil {
		return nil
	}
	return t.r.Ready(defaultReadyWithin)
}
