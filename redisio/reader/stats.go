package reader

import (
	"sync/atomic"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

func (r *Group) emit(e redisio.Event) {
	if e.Count == 0 {
		e.Count = len(e.IDs)
	}
	r.counts.Add(&e)
	if r.cfg.OnEvent == nil {
		return
	}
	e.Key, e.Group = r.cfg.Key, r.cfg.Group
	fault.Notify("GroupConfig.OnEvent", func() { r.cfg.OnEvent(e) })
}

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
func (r *Group) Stats() Stats {
	n := func(k redisio.EventKind) uint64 { return r.counts[k].Load() }
	return Stats{
		Recovered:     n(redisio.EventRecovered),
		Reclaimed:     n(redisio.EventReclaimed),
		Restored:      n(redisio.EventRestored),
		LostLeases:    n(redisio.EventLeaseLost),
		StaleAcks:     n(redisio.EventStaleAcks),
		LateAcks:      n(redisio.EventLateAcks),
		Trimmed:       n(redisio.EventTrimmed),
		Recreated:     n(redisio.EventGroupRecreated),
		Reconnects:    n(redisio.EventReconnected),
		RenewFailures: n(redisio.EventRenewFailed),
	}
}

// counts has a counter for each kind of event.
type counts [redisio.EventKinds]atomic.Uint64

func (c *counts) Add(e *redisio.Event) {
	n := uint64(1)
	switch e.Kind {
	case redisio.EventGroupRecreated, redisio.EventReconnected, redisio.EventReconnecting, redisio.EventRenewFailed:
	default:
		n = uint64(max(e.Count, 1))
	}
	c[e.Kind].Add(n)
}
