package redisio

import (
	"errors"
	"time"
)

// firstAsk is how many entries are asked for while nothing is known of their size.
const firstAsk = 16

const (
	askLess = 4       // a reply that does not come is asked for in quarters
	cutsTo  = 2       // replies in a row that do not come, before less is asked for
	calmFor = 256     // replies before as many entries are asked for as were too many before
	noBound = 1 << 20 // entries; more than anybody asks for
)

// asking turns a bound on bytes into a COUNT, because Redis takes no other. Idea: it goes by the
// size that entries had so far. While little is known it asks for few, eight times as many with
// each reply, so that a stream of large entries does not fill the memory with the first one.
// Entries that are suddenly larger are the business of limit.
//
// A server or a proxy may have a limit for replies, and cut the connection where one is larger. The
// same question would get the same answer, so fewer entries are asked for, down to one. The count
// that was too large is tried again much later.
type asking struct {
	size float64 // bytes per entry: up at once, down slowly, for the bound is on memory
	most int     // entries; 0: not asked yet
	few  int     // entries at most, after a reply that could not be read or did not come; 0: no such bound
	wall int     // this many entries were too many for a reply to come; 0: not known
	calm int     // replies since few has come close to wall
	cuts int     // replies in a row that did not come
	lone int     // … that would have had one entry at most
}

// count is how many entries to ask for, at least one.
func (a *asking) count(count int, maxBytes int64) int {
	if a.few > 0 {
		count = min(count, a.few)
	}
	if maxBytes <= 0 {
		return count
	}
	if a.most == 0 {
		a.most = firstAsk
	}
	if a.most < count {
		count = a.most
	}
	if a.size > 0 {
		count = min(count, int(float64(maxBytes)/a.size))
	}
	return max(1, count)
}

// learn takes note of a reply.
func (a *asking) learn(b *Batch) {
	a.cuts, a.lone = 0, 0
	n := len(b.Entries)
	if n == 0 {
		return
	}
	a.dare()
	size := float64(b.Bytes) / float64(n)
	a.size = max(1, size, 0.9*a.size+0.1*size)
	if a.most > 0 && a.most < noBound && n >= a.most {
		a.most *= 8
	}
}

// dare asks for more again, after a reply that came.
func (a *asking) dare() {
	switch {
	case a.few == 0:
	case a.wall == 0 || 2*a.few < a.wall:
		a.few *= 2
	default:
		if a.calm++; a.calm >= calmFor {
			a.calm, a.wall, a.few = 0, 2*a.wall, a.wall
		}
	}
	if a.few > noBound {
		a.few, a.wall, a.calm = 0, 0, 0
	}
}

// failed takes note of an error for a reply of up to count entries, and reports whether fewer are
// asked for because replies do not come. A reply that was too large, or not as it should be, is
// asked for in halves.
func (a *asking) failed(count int, err error) (less bool) {
	var bad *ReplyError
	switch {
	case err == nil:
	case errors.As(err, &bad):
		a.few = max(1, count/2)
	case isCut(err):
		if a.cuts++; count == 1 {
			a.lone++
		} else if a.cuts >= cutsTo {
			a.few, a.wall, a.calm = max(1, count/askLess), count, 0
			return true
		}
	}
	return false
}

// stuck reports that even a single entry does not come.
func (a *asking) stuck() bool { return a.lone >= 2*cutsTo }

// A server, or a proxy, that ignores BLOCK answers at once that there is nothing. Each such answer
// is followed by a pause, so that an idle reader asks it ten times a second at most.
const (
	firstIdle = 10 * time.Millisecond
	mostIdle  = 100 * time.Millisecond
)

// idling paces reads that should have blocked.
type idling struct{ every time.Duration }

// pause is how long to wait after a read that came back without entries, and was to wait for block.
// took is what it did take.
func (i *idling) pause(block, took time.Duration) time.Duration {
	if took >= block/2 {
		i.every = 0
		return 0
	}
	i.every = min(max(2*i.every, firstIdle), mostIdle)
	return min(i.every, block) - took
}
