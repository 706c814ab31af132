package reader

import (
	"github.com/streamerson/streamerson-go/redisio"
)

// Late reports that the work on entries that OnLost named has finished or stopped. It changes
// nothing on the server. The entries are counted, see EventLateAcks. It is for callers that track
// deliveries individually: a lost entry may be delivered to this reader again, so its ID alone does
// not identify the delivery.
func (r *Group) Late(ids []string) {
	if len(ids) == 0 || r.cfg.NoAck {
		return
	}
	r.held.Settled(ids)
	r.emit(redisio.Event{Kind: redisio.EventLateAcks, Count: len(ids)})
}
