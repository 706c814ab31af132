package relay

import (
	"context"
	"errors"
	"io"

	"github.com/streamerson/streamerson-go/redisio"
)

// A stream may be another one than before: it was deleted and made again, or a server that took the
// place of a failed one lacks the newest entries, and gives out their IDs again, or IDs between
// them.

// compare finds out whether the stream still is the one that was read, and if not where to go on: behind the newest
// entry that it has in common with what was read. If there is none it is a new one, and all of it is new. done says
// that what was read is to be read again.
func (t *tail[T]) compare(ctx context.Context, n *news) (done bool, err error) {
	known, newest := t.r.known()
	var at redisio.ID
	err = insist(ctx, func() (err error) {
		at, err = t.common(ctx, known, newest)
		return err
	})
	if err != nil {
		return false, err
	}
	other := t.other
	t.doubt, t.other = false, false
	switch {
	case !at.IsZero() && at == newest:
		if !other {
			return false, nil
		}
	case at.IsZero() && !other: // what we know was trimmed, or there was nothing yet
		return false, nil
	case !other: // or it was trimmed while we read
		s, err := t.inspect(ctx)
		if err != nil || s.first.IsZero() || s.first.Compare(newest) > 0 {
			return false, err
		}
	}
	n.entries, n.restarted, n.at = nil, true, at
	if at.IsZero() {
		n.gap = &Gap{From: t.last.String(), To: at.String(), Missed: -1}
	}
	_ = t.reader.Close(ctx) // it is between two reads: nothing is under way
	t.last, t.added = at, -1
	return true, t.follow(ctx)
}

// maxCompared bounds how many entries are read for it.
const maxCompared = 8192

// common is the newest entry that was read and still is in the stream; zero if there is none.
func (t *tail[T]) common(
	ctx context.Context,
	known map[redisio.ID]uint64,
	newest redisio.ID,
) (at redisio.ID, err error) {
	oldest := newest
	for id := range known {
		if id.Compare(oldest) < 0 {
			oldest = id
		}
	}
	if len(known) == 0 {
		return at, nil
	}
	r, err := redisio.NewRangeReader(
		t.r.rdb,
		redisio.RangeConfig{Key: t.r.cfg.Key, From: oldest, To: newest, MaxCount: t.r.cfg.Page},
	)
	if err != nil {
		return at, err
	}
	if err := r.Open(ctx); err != nil {
		return at, err
	}
	var b redisio.Batch
	for seen := 0; seen < maxCompared; seen += len(b.Entries) {
		if err := r.Read(ctx, t.r.cfg.Page, pageBytes, &b); errors.Is(err, io.EOF) {
			return at, nil
		} else if err != nil {
			return at, err
		}
		for i := range b.Entries {
			e := &b.Entries[i]
			was, is := known[e.Position]
			switch {
			case is && was == sum(e):
				at = e.Position
			case is: // an ID that was given out again: what follows is not ours
				return at, nil
			}
		}
	}
	return at, nil
}

// known are the entries that were read lately, and the newest of them.
func (r *Relay[T]) known() (map[redisio.ID]uint64, redisio.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.recent.list[r.recent.head:]
	known := make(map[redisio.ID]uint64, len(list))
	for i := range list {
		known[list[i].id] = list[i].sum
	}
	if len(list) == 0 {
		return known, redisio.ID{}
	}
	return known, list[len(list)-1].id
}
