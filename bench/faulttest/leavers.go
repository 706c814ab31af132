package faulttest

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// leftBehind finds entries that are pending for a worker that ended in order: it said that it was done with them, or
// that it gave them back, and no other can tell them from those of a worker that lives.
func (t *trial) leftBehind(w *worker) {
	if n := t.pendingFor(w); n > 0 && w.last().Released == 0 {
		t.find(kindDrain, "worker %d ended and left %d entries pending", w.pid(), n)
	}
}

// pendingFor is how many entries are pending for a worker.
func (t *trial) pendingFor(w *worker) (n int64) {
	for _, c := range t.consumersOf(w) {
		n += c.Pending
	}
	return n
}

// consumes reports whether the group knows a worker.
func (t *trial) consumes(w *worker) bool { return len(t.consumersOf(w)) > 0 }

// consumersOf are those that a worker is. Its process id is part of its name.
func (t *trial) consumersOf(w *worker) []redis.XInfoConsumer {
	consumers, err := t.in.XInfoConsumers(t.ctx, t.job.Input, t.job.Group).Result()
	if err != nil && !strings.Contains(err.Error(), "no such key") && !strings.Contains(err.Error(), "NOGROUP") {
		t.must(err)
	}
	return slices.DeleteFunc(consumers, func(c redis.XInfoConsumer) bool {
		return !strings.Contains(c.Name, "-"+strconv.Itoa(w.pid())+"-")
	})
}

// untilBusy waits until a worker has its hands full, or there is too little to do.
func (t *trial) untilBusy(w *worker) {
	for began := time.Now(); t.pendingFor(w) == 0 && time.Since(began) < time.Second; {
		t.pause(3 * time.Millisecond)
	}
}
