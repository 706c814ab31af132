package durable

import "time"

// SetQuiet sets how long a follower waits before it checks that its reply exists.
func (r *Replies) SetQuiet(d time.Duration) { r.quiet = d }
