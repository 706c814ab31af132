package reader

import (
	"time"
)

// A server, or a proxy, that ignores BLOCK answers at once that there is nothing. Each such answer
// is followed by a pause, so that an idle reader asks it ten times a second at most.
const (
	firstIdle = 10 * time.Millisecond
	mostIdle  = 100 * time.Millisecond
)

// idling paces reads that should have blocked.
type idling struct{ every time.Duration }

// Pause is how long to wait after a read that came back without entries, and was to wait for block.
// took is what it did take.
func (i *idling) Pause(block, took time.Duration) time.Duration {
	if took >= block/2 {
		i.every = 0
		return 0
	}
	i.every = min(max(2*i.every, firstIdle), mostIdle)
	return min(i.every, block) - took
}
