package ws

import "sync/atomic"

// Stats are the counters of a hub in this process. Sockets and Rooms are current values, the others
// count since NewHub.
type Stats struct {
	Sockets int // open, or being opened: those that MaxSockets limits
	Rooms   int // rooms that sockets of this process have joined

	Opened    uint64 // sockets
	Refused   uint64 // requests that were not upgraded
	Received  uint64 // frames
	Bad       uint64 // frames that violate the protocol
	Limited   uint64 // frames that were delayed by a rate limit
	Said      uint64 // messages sent to the workers
	Calls     uint64 // calls started
	Delivered uint64 // messages, counted once for each receiving socket
	Dropped   uint64 // messages dropped for slow sockets, as far as they were counted
	Gaps      uint64 // gaps reported to clients
	Slow      uint64 // sockets closed because the client did not read, or did not complete a frame
	Dead      uint64 // sockets closed because the client did not answer
	Undecoded uint64 // entries of the log that could not be decoded
}

type counters struct {
	opened, refused, received, bad, limited, said, calls, delivered, dropped, gaps, slow, dead atomic.Uint64
}

// Stats returns the current counters.
func (h *Hub) Stats() Stats {
	c := &h.stats
	s := Stats{
		Opened:    c.opened.Load(),
		Refused:   c.refused.Load(),
		Received:  c.received.Load(),
		Bad:       c.bad.Load(),
		Limited:   c.limited.Load(),
		Said:      c.said.Load(),
		Calls:     c.calls.Load(),
		Delivered: c.delivered.Load(),
		Dropped:   c.dropped.Load(),
		Gaps:      c.gaps.Load(),
		Slow:      c.slow.Load(),
		Dead:      c.dead.Load(),
		Undecoded: uint64(h.relay.Counts().Skipped),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Sockets, s.Rooms = h.taken, len(h.rooms)
	return s
}
