package redisio

import (
	"context"
	"time"
)

// Idea of this file: a failover takes back the last writes of the old server, and the new one gives
// the IDs that were lost with them to other entries. So an ID that we have in hand, and that comes
// as a new entry, is another entry with the same name, if a connection has broken since: it is
// handed out, and what was in hand under that name is lost. Were it kept from the reader, the
// acknowledgement of the old entry would settle the new one unseen. On the server that we know an
// ID comes again only when somebody sets the group back, and then the entry in hand is the same.

// disown gives up what is in hand under the IDs of entries that come as new ones.
func (r *GroupReader) disown(ctx context.Context, entries []Entry) error {
	again := r.held.reissued(entries)
	if len(again) == 0 {
		return nil
	}
	// An acknowledgement of the old entry that is under way must not meet the new one.
	resume, err := r.held.quiesce(ctx)
	if err != nil {
		return err
	}
	again = r.held.lose(again)
	resume()
	r.lost(again)
	return nil
}

// broke notes that a connection broke.
func (h *heldSet) broke(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cut = ticks(now)
}

// reissued returns the IDs of entries that are held, if another server may have issued them.
func (h *heldSet) reissued(entries []Entry) (ids []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cut == 0 || h.held.n == 0 {
		return nil
	}
	for i := range entries {
		if _, held := h.held.get(entries[i].Position); held {
			ids = append(ids, entries[i].ID)
		}
	}
	return ids
}
