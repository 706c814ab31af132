package relay

import (
	"context"
	"errors"
	"io"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

// A stream may be replaced by another one: it was deleted and created again, or a failover lost the
// newest entries. Then the new server assigns their IDs again, or IDs between them.

// compare checks whether the stream is still the one that was read. If not, it restarts after the
// newest entry that the stream has in common with what was read. Without a common entry the stream
// is new, and all of it is read. done means that n must be read again.
func (t *tail[T]) compare(ctx context.Context, n *readResult) (done bool, err error) {
	t.r.mu.Lock()
	known, newest := t.r.recent.known()
	t.r.mu.Unlock()
	var at redisio.ID
	err = t.r.server.insist(ctx, func() (err error) {
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
	case at.IsZero() && !other: // the known entries were trimmed, or no entry is known yet
		return false, nil
	case !other: // the known entries may have been trimmed while reading
		s, err := t.inspect(ctx)
		if err != nil || s.first.IsZero() || s.first.Compare(newest) > 0 {
			return false, err
		}
	}
	n.entries, n.restarted, n.at = nil, true, at
	if at.IsZero() {
		n.gap = &Gap{From: t.last.String(), To: at.String(), Missed: -1}
	}
	_ = t.reader.Close(ctx) // between two reads: no read is in flight
	t.last, t.added = at, -1
	return true, t.follow(ctx)
}

// maxCompared is how many entries common reads at most.
const maxCompared = 8192

// common returns the newest entry that was read and still is in the stream, or zero.
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
	r, err := reader.NewRange(
		t.r.server.rdb,
		reader.RangeConfig{Key: t.r.cfg.Key, From: oldest, To: newest, MaxCount: t.r.cfg.Page},
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
			case is: // the ID was assigned again: the later entries differ too
				return at, nil
			}
		}
	}
	return at, nil
}
