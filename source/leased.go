package source

import "sync/atomic"

// leases passes on which leases a reader has lost, once the graph has said where to.
type leases struct {
	report atomic.Pointer[func(ids []string)]
}

// OnLeaseLost takes the graph's function (see flow.Leaser).
func (l *leases) OnLeaseLost(lost func(ids []string)) { l.report.Store(&lost) }

func (l *leases) tell(ids []string) {
	if report := l.report.Load(); report != nil {
		(*report)(ids)
	}
}
