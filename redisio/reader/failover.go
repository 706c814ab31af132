package reader

import (
	"context"

	"github.com/streamerson/streamerson-go/redisio"
)

// Idea of this file: a failover takes back the last writes of the old server, and the new one gives
// the IDs that were lost with them to other entries. So an ID that we have in hand, and that comes
// as a new entry, is another entry with the same name, if a connection has broken since: it is
// handed out, and what was in hand under that name is lost. Were it kept from the reader, the
// acknowledgement of the old entry would settle the new one unseen. On the server that we know an
// ID comes again only when somebody sets the group back, and then the entry in hand is the same.

// disown gives up what is in hand under the IDs of entries that come as new ones.
func (r *Group) disown(ctx context.Context, entries []redisio.Entry) error {
	again := r.held.Reissued(entries)
	if len(again) == 0 {
		return nil
	}
	// An acknowledgement of the old entry that is under way must not meet the new one.
	resume, err := r.held.Quiesce(ctx)
	if err != nil {
		return err
	}
	again = r.held.Lose(again)
	resume()
	r.Lost(again)
	return nil
}
