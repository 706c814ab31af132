package reader

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// AliveFor is the longest idle time of a live Group's consumer in XINFO CONSUMERS. If it is idle
// for longer, its reader was killed, hangs, or cannot reach Redis.
const AliveFor = 6 * time.Second

// presentEvery is how often a reader resets the idle time of its consumer.
const presentEvery = AliveFor / 3

// nowhere is an ID behind all entries.
const nowhere = "18446744073709551615-0"

// present resets the idle time of the consumer until the reader is closed.
//
// Idea: before Redis 7.2 a read that waits for entries leaves the idle time alone, and a reader
// that is busy does not read at all. Reading what is pending behind all entries resets the time on
// all servers, and changes nothing else.
func (r *Group) present() {
	tick := time.NewTicker(presentEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), presentEvery/2)
		r.control.XReadGroup(ctx, &redis.XReadGroupArgs{Group: r.cfg.Group, Consumer: r.cfg.Consumer,
			Streams: []string{r.cfg.Key, nowhere}, Count: 1, Block: -1}) // the next tick tries again
		cancel()
	}
}
