package writer

import (
	"fmt"
	"strconv"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// HeldBackError reports a group that prevents trimming, because it has not settled the oldest
// entries. It may be abandoned.
type HeldBackError struct {
	Key       string
	Group     string
	Length    int64  // of the stream
	Lag       int64  // entries that the group has not read; -1 if the server does not know
	Pending   int64  // entries that it has read and not settled
	Consumers int64  // of the group
	Oldest    string // the ID from which on the group keeps entries
}

func (e *HeldBackError) group() string {
	if e == nil {
		return ""
	}
	return e.Group
}

func (e *HeldBackError) Error() string {
	lag := "an unknown number"
	if e.Lag >= 0 {
		lag = strconv.FormatInt(e.Lag, 10)
	}
	return fmt.Sprintf(
		"group %q keeps %q at %s: %s unread, %d pending, %s; add consumers, or delete the group (XGROUP DESTROY)",
		fault.KeyName(e.Group),
		fault.KeyName(e.Key),
		fault.Plural(e.Length, "entry", "entries"),
		lag,
		e.Pending,
		fault.Plural(e.Consumers, "consumer", "consumers"),
	)
}

const (
	// heldBackAfter is how long a group must not advance until it is reported.
	heldBackAfter = time.Minute
	// heldBackEvery is the interval of its reports.
	heldBackEvery = 10 * time.Minute
	// heldBackMost is the maximum number of groups that are remembered for a stream.
	heldBackMost = 64
)

// stalled is a group that prevents trimming.
type stalled struct {
	oldest string    // from which ID on
	since  time.Time // when this was seen first
	told   time.Time // when the group was named last
}

// tellHeldBack reports the group if it does not advance, unless it was reported recently. A group
// that only lags advances between two trimmings.
func (tr *trimmer) tellHeldBack(l *lane, kept *HeldBackError, now time.Time) {
	if kept == nil {
		return
	}
	l.mu.Lock()
	s := l.heldBack[kept.Group]
	if s.oldest != kept.Oldest {
		s.oldest, s.since = kept.Oldest, now
	}
	news := now.Sub(s.since) >= heldBackAfter && now.Sub(s.told) >= heldBackEvery
	if news {
		s.told = now
	}
	if _, known := l.heldBack[kept.Group]; l.heldBack == nil || !known && len(l.heldBack) >= heldBackMost {
		l.heldBack = make(map[string]stalled)
	}
	l.heldBack[kept.Group] = s
	l.mu.Unlock()
	if news {
		tr.cfg.emit(
			redisio.Event{
				Kind:  redisio.EventHeldBack,
				Key:   kept.Key,
				Group: kept.Group,
				Count: int(kept.Length),
				Err:   kept,
			},
		)
	}
}
