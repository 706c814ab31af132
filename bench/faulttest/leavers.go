package faulttest

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// leftBehind reports entries that are pending for a worker that ended cleanly. Such a worker must
// have settled or released all its entries, because other workers cannot tell them from those of a
// live worker.
func (t *trial) leftBehind(w *worker) {
	if n := t.pendingFor(w); n > 0 && w.last().Released == 0 {
		t.find(kindDrain, "worker %d ended and left %d entries pending", w.pid(), n)
	}
}

// pendingFor returns how many entries are pending for a worker.
func (t *trial) pendingFor(w *worker) (n int64) {
	for _, c := range t.consumersOf(w) {
		n += c.Pending
	}
	return n
}

// consumes reports whether the worker is a consumer of the group.
func (t *trial) consumes(w *worker) bool { return len(t.consumersOf(w)) > 0 }

// consumersOf returns the consumers of a worker. Their names contain its process id.
func (t *trial) consumersOf(w *worker) []redis.XInfoConsumer {
	consumers, err := t.in.XInfoConsumers(t.ctx, t.job.Input, t.job.Group).Result()
	if err != nil && !strings.Contains(err.Error(), "no such key") && !strings.Contains(err.Error(), "NOGROUP") {
		t.must(err)
	}
	return slices.DeleteFunc(consumers, func(c redis.XInfoConsumer) bool {
		return !strings.Contains(c.Name, "-"+strconv.Itoa(w.pid())+"-")
	})
}

// untilBusy waits until a worker has as many entries as it may hold, or too little work is left.
func (t *trial) untilBusy(w *worker) {
	for began := time.Now(); t.pendingFor(w) == 0 && time.Since(began) < time.Second; {
		t.pause(3 * time.Millisecond)
	}
}
