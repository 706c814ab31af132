package source

import "sync/atomic"

// leases reports lost leases to the graph, once the graph has set its function.
type leases struct {
	report atomic.Pointer[func(ids []string)]
}

// OnLeaseLost implements flow.Leaser.
func (l *leases) OnLeaseLost(lost func(ids []string)) { l.report.Store(&lost) }

func (l *leases) tell(ids []string) {
	if report := l.report.Load(); report != nil {
		(*report)(ids)
	}
}
