package ws

import "sync/atomic"

// Stats are what a hub counts, in this process: the first two now, the rest since it was made.
type Stats struct {
	Sockets int
	Rooms   int // that sockets of this process are in

	Opened    uint64 // sockets
	Refused   uint64 // requests that were not upgraded
	Received  uint64 // frames
	Bad       uint64 // of these, what the protocol has no meaning for
	Limited   uint64 // of these, what had to wait for the rate
	Said      uint64 // messages that went to the workers
	Calls     uint64 // begun
	Delivered uint64 // messages, to each socket that they were for
	Dropped   uint64 // messages that sockets were too slow for, as far as they were counted
	Gaps      uint64 // that clients were told of
	Slow      uint64 // sockets that were closed because their clients did not read, or did not end a frame
	Dead      uint64 // sockets that were closed because their clients did not answer
	Undecoded uint64 // entries of the log that are no messages
}

type counters struct {
	opened, refused, received, bad, limited, said, calls, delivered, dropped, gaps, slow, dead atomic.Uint64
}

// Stats returns the counts.
func (h *Hub) Stats() Stats {
	c := &h.stats
	s := Stats{
		Opened: c.opened.Load(), Refused: c.refused.Load(), Received: c.received.Load(), Bad: c.bad.Load(), Limited: c.limited.Load(),
		Said: c.said.Load(), Calls: c.calls.Load(), Delivered: c.delivered.Load(), Dropped: c.dropped.Load(), Gaps: c.gaps.Load(),
		Slow: c.slow.Load(), Dead: c.dead.Load(), Undecoded: uint64(h.relay.Counts().Skipped),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Sockets, s.Rooms = len(h.sockets), len(h.rooms)
	return s
}
