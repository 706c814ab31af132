package redisio

import "sync/atomic"

// Stats counts what a reader noticed since it was made. Most are entries, see the events of these names.
type Stats struct {
	Recovered     uint64 // of lost replies, or of an earlier life
	Reclaimed     uint64 // of consumers without a live lease
	Restored      uint64 // dropped from the pending list by others, and put back
	LostLeases    uint64
	StaleAcks     uint64
	LateAcks      uint64
	Trimmed       uint64 // while pending
	Recreated     uint64 // times the group was made again
	Reconnects    uint64 // times reads worked again
	RenewFailures uint64 // times renewals began to fail
}

// Stats may be asked for at any time.
func (r *GroupReader) Stats() Stats {
	n := func(k EventKind) uint64 { return r.counts[k].Load() }
	return Stats{
		Recovered: n(
			EventRecovered,
		), Reclaimed: n(EventReclaimed), Restored: n(EventRestored), LostLeases: n(EventLeaseLost),
		StaleAcks: n(EventStaleAcks), LateAcks: n(EventLateAcks), Trimmed: n(EventTrimmed),
		Recreated: n(EventGroupRecreated), Reconnects: n(EventReconnected), RenewFailures: n(EventRenewFailed),
	}
}

// counts has a counter for each kind of event.
type counts [len(eventNames)]atomic.Uint64

func (c *counts) add(e *Event) {
	n := uint64(1)
	switch e.Kind {
	case EventGroupRecreated, EventReconnected, EventReconnecting, EventRenewFailed:
	default:
		n = uint64(max(e.Count, 1))
	}
	c[e.Kind].Add(n)
}
