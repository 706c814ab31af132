package reader

import (
	"github.com/streamerson/streamerson-go/redisio"
)

// Late notes that nothing is left to do about entries that OnLost was told of: whoever worked on them has finished or
// given up. Nothing happens on the server; they are counted (see EventLateAcks). It is for those who keep book of which
// delivery they settle: an entry may be lost, and then come to this very reader again, and then its
// ID alone says too little.
func (r *Group) Late(ids []string) {
	if len(ids) == 0 || r.cfg.NoAck {
		return
	}
	r.held.Settled(ids)
	r.emit(redisio.Event{Kind: redisio.EventLateAcks, Count: len(ids)})
}
