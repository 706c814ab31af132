package conn

import (
	"errors"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
)

// MaxKept is the largest buffer that is kept for reuse.
const MaxKept = 1 << 20

// leastFront is the smallest limit.
const leastFront = 1 << 20

// LargeReply is how many bytes a read asks for at most, as far as the size of entries is known. The
// next reply is on its way while the caller handles one, and its buffer is allocated once.
const LargeReply = 4 << 20

// Limit bounds one reply. The zero value means no bound.
type Limit struct {
	Bytes   int
	Streams bool // the reply is one of XREAD or XREADGROUP, else a list of entries
}

// LimitFor returns the limit of a read of count entries with maxBytes. It is 0 for a single entry.
func LimitFor(count int, maxBytes int64) int {
	if count <= 1 || maxBytes <= 0 || maxBytes >= resp.MaxReply {
		return 0
	}
	return max(2*int(maxBytes), leastFront)
}

// reached reports whether to stop reading a reply that begins with front and has at least size
// bytes.
func (l Limit) reached(front []byte, size int) bool {
	if l.Bytes <= 0 || size <= l.Bytes {
		return false
	}
	w := resp.Walker{Buf: front, First: true}
	var b redisio.Batch
	if l.Streams {
		return w.Streams(0, &b) == resp.ErrFront
	}
	return w.Entries(0, &b) == resp.ErrFront
}

// FirstAsk is how many entries the first read asks for, while their size is unknown.
const FirstAsk = 16

const (
	askLess    = 4       // after replies that fail to arrive, the count is divided by this
	CutsTo     = 2       // consecutive missing replies before the count is reduced
	stuckAfter = 8       // consecutive missing replies to requests for one entry; chance is ruled out
	CalmFor    = 256     // replies before a count that was too large is tried again
	NoBound    = 1 << 20 // entries; more than any caller asks for
)

// Asking converts a bound in bytes to a COUNT, because Redis only accepts a COUNT. Idea: it uses
// the size of earlier entries. While little is known it asks for few entries, then for eight times
// as many with each reply. So the first reply of a stream of large entries does not fill the
// memory. If entries suddenly become larger, Limit bounds the reply.
//
// A server or a proxy may limit replies and cut the connection when one is larger. Repeating the
// same request would fail again, so Asking reduces the count, down to one. It tries the count that
// was too large again much later.
type Asking struct {
	Size float64 // bytes per entry: rises at once, falls slowly, because the bound protects memory
	Most int     // most entries to ask for; 0: not asked yet
	Few  int     // bound after a reply that was unreadable or missing; 0: none
	wall int     // a count that got no reply; 0: unknown
	calm int     // replies since Few came close to wall
	cuts int     // consecutive missing replies
	lone int     // … of requests for one entry
}

// Count returns how many entries to ask for, at least one.
func (a *Asking) Count(count int, maxBytes int64) int {
	if a.Few > 0 {
		count = min(count, a.Few)
	}
	if maxBytes <= 0 {
		return count
	}
	if a.Most == 0 {
		a.Most = FirstAsk
	}
	if a.Most < count {
		count = a.Most
	}
	if a.Size > 0 {
		count = min(count, int(float64(maxBytes)/a.Size))
	}
	return max(1, count)
}

// Learn records a reply.
func (a *Asking) Learn(b *redisio.Batch) {
	a.cuts, a.lone = 0, 0
	n := len(b.Entries)
	if n == 0 {
		return
	}
	a.dare()
	size := float64(b.Bytes) / float64(n)
	a.Size = max(1, size, 0.9*a.Size+0.1*size)
	if a.Most > 0 && a.Most < NoBound && n >= a.Most {
		a.Most *= 8
	}
}

// dare raises the count again after a reply.
func (a *Asking) dare() {
	switch {
	case a.Few == 0:
	case a.wall == 0 || 2*a.Few < a.wall:
		a.Few *= 2
	default:
		if a.calm++; a.calm >= CalmFor {
			a.calm, a.wall, a.Few = 0, 2*a.wall, a.wall
		}
	}
	if a.Few > NoBound {
		a.Few, a.wall, a.calm = 0, 0, 0
	}
}

// Failed records the error of a request for up to count entries. It reports whether the count was
// reduced because replies do not arrive. After a malformed or too large reply the count is halved.
func (a *Asking) Failed(count int, err error) (less bool) {
	var bad *resp.ReplyError
	switch {
	case err == nil:
	case errors.As(err, &bad):
		a.Few = max(1, count/2)
	case fault.IsCut(err):
		if a.cuts++; count == 1 {
			a.lone++
		} else if a.cuts >= CutsTo {
			a.Few, a.wall, a.calm = max(1, count/askLess), count, 0
			return true
		}
	}
	return false
}

// Stuck reports whether even requests for a single entry fail.
func (a *Asking) Stuck() bool { return a.lone >= stuckAfter }
