package demand

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
)

// FirstAsk is how many entries are asked for while nothing is known of their size.
const FirstAsk = 16

const (
	askLess = 4       // a reply that does not come is asked for in quarters
	CutsTo  = 2       // replies in a row that do not come, before less is asked for
	CalmFor = 256     // replies before as many entries are asked for as were too many before
	NoBound = 1 << 20 // entries; more than anybody asks for
)

// Asking turns a bound on bytes into a COUNT, because Redis takes no other. Idea: it goes by the
// size that entries had so far. While little is known it asks for few, eight times as many with
// each reply, so that a stream of large entries does not fill the memory with the first one.
// Entries that are suddenly larger are the business of limit.
//
// A server or a proxy may have a limit for replies, and cut the connection where one is larger. The
// same question would get the same answer, so fewer entries are asked for, down to one. The count
// that was too large is tried again much later.
type Asking struct {
	Size float64 // bytes per entry: up at once, down slowly, for the bound is on memory
	Most int     // entries; 0: not asked yet
	Few  int     // entries at most, after a reply that could not be read or did not come; 0: no such bound
	wall int     // this many entries were too many for a reply to come; 0: not known
	calm int     // replies since few has come close to wall
	cuts int     // replies in a row that did not come
	lone int     // … that would have had one entry at most
}

// Count is how many entries to ask for, at least one.
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

// Learn takes note of a reply.
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

// dare asks for more again, after a reply that came.
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

// Failed takes note of an error for a reply of up to count entries, and reports whether fewer are
// asked for because replies do not come. A reply that was too large, or not as it should be, is
// asked for in halves.
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

// Stuck reports that even a single entry does not come.
func (a *Asking) Stuck() bool { return a.lone >= 2*CutsTo }

// Page fills b with entries by XRANGE or XREVRANGE, and reports whether all that was asked for
// came. A reply that is cut off is asked for again, with fewer entries, which tell, if given, is
// told of.
func (a *Asking) Page(ctx context.Context, rdb redis.UniversalClient, most int, maxBytes int64, b *redisio.Batch,
	tell func(redisio.Event), cmd, key string, from, to redisio.ID) (full bool, err error) {
	for tries := 1; ; tries++ {
		count := a.Count(most, maxBytes)
		l := conn.Limit{Bytes: conn.LimitFor(count, maxBytes)}
		err = conn.RawEntries(ctx, rdb, l, b, cmd, key, from.String(), to.String(), "count", count)
		full = len(b.Entries) == count || err == resp.ErrFront
		if err == resp.ErrFront {
			err = nil
		}
		less := a.Failed(count, err)
		if less && tell != nil {
			e := redisio.Event{Kind: redisio.EventAskingLess, Key: key, Count: a.Few, Err: err}
			fault.Notify("RangeConfig.OnEvent", func() { tell(e) })
		}
		again := fault.IsCut(err) || l.Bytes > 0 && fault.Judge(err) == fault.Broken // what go-redis does not try again
		if !again || tries >= fault.CutTries && !less || !fault.Sleep(ctx, nil, fault.Backoff(min(tries, 4))) {
			return full, err
		}
	}
}
