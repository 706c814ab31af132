package faulttest

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// delays are how late the machine lets processes run: a few milliseconds, unless it is busy. The limits
// of a trial grow with them, so that it judges the workers and not the machine.
type delays struct {
	Most  time.Duration `json:"most"`  // the longest
	Often int           `json:"often"` // how many of them took a large part of a lease
}

func (d *delays) raise(o delays) {
	d.Most = max(d.Most, o.Most)
	d.Often += o.Often
}

// machine collects delays.
type machine struct {
	mu    sync.Mutex
	so    delays
	lease time.Duration // 0: no lease depends on them
}

// beat is how often delays are measured.
const beat = 20 * time.Millisecond

func (m *machine) late(by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.so.Most = max(m.so.Most, by)
	if m.lease > 0 && by > m.lease/8 {
		m.so.Often++
	}
}

func (m *machine) far() delays {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.so
}

func (m *machine) leases(last time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lease = last
}

// measure measures the delays of this process until ctx ends. A process that hangs by its own fault is
// not late, because measuring needs none of its locks.
func (m *machine) measure(ctx context.Context) {
	for {
		began := time.Now()
		if sleep(ctx, beat) != nil {
			return
		}
		m.late(time.Since(began) - beat)
	}
}

// ping measures the delays of a server. One that is down, or breaks the connection, is not late.
func (m *machine) ping(ctx context.Context, rdb redis.UniversalClient) {
	for sleep(ctx, beat) == nil {
		began := time.Now()
		if rdb.Ping(ctx).Err() == nil {
			m.late(time.Since(began))
		}
	}
}

// usualStart is how long a worker may need to start on a quiet machine.
const usualStart = time.Second

// late returns the delays of a worker.
func (w *worker) late() (d delays) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		d = w.now.Late
		d.Most = max(d.Most, w.started-usualStart)
	}
	return d
}

// delays returns those of the harness, of a server that has no faults of its own, and of all workers.
func (t *trial) delays() delays {
	d := delays{Most: max(t.here.far().Most, t.there.far().Most)}
	for _, w := range t.pool.all() {
		d.raise(w.late())
	}
	return d
}

// busy returns what the machine adds to a limit of time. Several steps in a row may be late.
func (t *trial) busy() time.Duration { return 3 * t.delays().Most }

// broken reports whether the worker is one that must be caught.
func (t *trial) broken() bool { return variants[t.o.Variant] != habits{} }

// lapses returns how many entries may have been handled twice because of the machine. The lease of an
// entry ended while its worker was late, or an output was written again because its reply was late. No
// broken worker is excused.
func (t *trial) lapses() (n int) {
	if t.broken() {
		return 0
	}
	d := t.delays()
	n = (d.Often + t.there.far().Often*t.pool.most) * t.job.InFlight
	if d.Most > 2*time.Second { // go-redis waits 3 s for a reply
		for _, w := range t.pool.all() {
			n += w.last().Unknown
		}
	}
	return n
}
