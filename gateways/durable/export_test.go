package durable

import (
	"time"

	"github.com/streamerson/streamerson-go/redisio/transcript"
)

// SetQuiet sets how long a follower waits before it checks that its reply exists.
func (r *Replies) SetQuiet(d time.Duration) { r.quiet = d }

// SetImpatient makes each read of a transcript fail at once while Redis is unavailable.
func (r *Replies) SetImpatient(topic string) (err error) {
	cfg := r.cfg.transcripts(topic)
	cfg.Patience = -1
	r.store, err = transcript.New(r.rdb, cfg)
	return err
}
