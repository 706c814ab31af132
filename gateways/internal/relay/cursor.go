package relay

import (
	"context"
	"fmt"
	"strings"

	"github.com/streamerson/streamerson-go/redisio"
)

// CursorError reports an invalid cursor.
type CursorError struct{ Cursor string }

func (e *CursorError) Error() string {
	return fmt.Sprintf("relay: invalid cursor %.40q: use one that came with an item", e.Cursor)
}

// cursor is where a listener wants to start.
type cursor struct {
	now       bool
	beginning bool // of the existing entries
	id        redisio.ID
	exact     bool // id is that of an entry, not a time
}

// maxCursor is the length of the longest cursor: two 64-bit numbers and a dash.
const maxCursor = 41

func parseCursor(s string) (cursor, error) {
	switch s {
	case "":
		return cursor{now: true}, nil
	case "0":
		return cursor{beginning: true}, nil
	}
	if len(s) > maxCursor {
		return cursor{}, &CursorError{s}
	}
	id, err := redisio.ParseID(s)
	if err != nil {
		return cursor{}, &CursorError{s}
	}
	if !strings.Contains(s, "-") {
		return cursor{id: id.Prev()}, nil
	}
	return cursor{id: id, exact: true}, nil
}

// start is where a listener starts, and the gap before it.
type start struct {
	at  redisio.ID
	gap *Gap
}

// begin resolves a cursor. It retries while Redis is unavailable.
func (r *Relay[T]) begin(ctx context.Context, c cursor) (b start, err error) {
	if err := r.history.enter(ctx); err != nil {
		return b, err
	}
	defer r.history.leave()
	err = r.server.insist(ctx, func() (err error) {
		b, err = r.locate(ctx, c)
		return err
	})
	return b, err
}

func (r *Relay[T]) locate(ctx context.Context, c cursor) (start, error) {
	s, err := r.server.inspect(ctx)
	if err != nil {
		return start{}, err
	}
	switch {
	case c.now:
		return start{at: s.top}, nil
	case c.beginning && s.first.IsZero():
		return start{at: s.top}, nil
	case c.beginning:
		return start{at: s.first.Prev()}, nil
	case c.exact && c.id.Compare(s.top) > 0: // from a replaced stream, or lost in a failover
		return missing(c.id, s.top), nil
	case !c.exact && c.id.Compare(s.top) > 0: // a future time: the listener would be silent until then
		return start{at: s.top}, nil
	case s.trimmed(c.id) && s.first.IsZero():
		return missing(c.id, s.top), nil
	case s.trimmed(c.id):
		return missing(c.id, s.first.Prev()), nil
	case !c.exact || c.id == s.top || c.id.IsZero():
		return start{at: c.id}, nil
	case c.id.Next() == s.first: // such as the end of a gap: no entry can be between
		return start{at: c.id}, nil
	}
	// The entry should exist. If it does not, it was deleted, or the cursor is from another stream:
	// the entries after it are unknown.
	found, err := r.server.rdb.XRangeN(ctx, r.cfg.Key, c.id.String(), c.id.String(), 1).Result()
	switch {
	case err != nil:
		return start{}, fmt.Errorf("relay: find %v in %q: %w", c.id, r.cfg.Key, err)
	case len(found) == 0:
		return missing(c.id, c.id), nil
	}
	return start{at: c.id}, nil
}

func missing(from, to redisio.ID) start {
	return start{to, &Gap{From: from.String(), To: to.String(), Missed: -1}}
}
