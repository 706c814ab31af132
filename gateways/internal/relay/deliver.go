package relay

import (
	"context"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// opened sets the end of the stream, from which entries are live.
func (r *Relay[T]) opened(at redisio.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open {
		return
	}
	r.open, r.last = true, at
	r.recent.reset(at)
	r.seen.Store(&streamPosition{position{at, at.String()}, r.epoch})
	for l := range r.index.all {
		l.mu.Lock()
		l.at.stalled = false
		l.wake()
		l.mu.Unlock()
	}
}

// round is a delivery to the listeners. Guarded by the relay's lock.
type round[T any] struct {
	number uint64
	entry  uint64 // entries delivered so far, in all rounds
	woken  []*Listener[T]
}

// deliver passes entries to the listeners. It runs in the relay's graph.
func (r *Relay[T]) deliver(_ context.Context, chunk []flow.Message[*readResult]) error {
	for i := range chunk {
		n := chunk[i].Value
		r.dispatch(n, r.history.records(n.entries))
	}
	return nil
}

func (r *Relay[T]) dispatch(n *readResult, list []record[T]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.round.number++
	switch {
	case n.restarted:
		r.epoch++
		r.last = n.at
		r.recent.reset(n.at)
		for l := range r.index.all {
			l.restart(r.epoch, n.at, n.gap)
		}
	case n.gap != nil:
		at, _ := redisio.ParseID(n.gap.To)
		r.recent.reset(at)
		for l := range r.index.all {
			if l.tell(n.gap) {
				r.wakeLater(l)
			}
		}
	}
	r.count.entries.Add(int64(len(n.entries)))
	for i := range list {
		rec := &list[i]
		if rec.id.Compare(r.last) <= 0 {
			continue
		}
		r.last = rec.id
		r.round.entry++
		r.recent.push(*rec)
		for l := range r.index.every {
			r.give(l, rec)
		}
		for _, t := range rec.topics {
			for l := range r.index.topics[t] {
				r.give(l, rec)
			}
		}
	}
	// The last entries may not have been decodable.
	if k := len(n.entries); k > 0 && n.entries[k-1].Position.Compare(r.last) > 0 {
		r.last = n.entries[k-1].Position
	}
	r.seen.Store(&streamPosition{position{r.last, r.last.String()}, r.epoch})
	for i, l := range r.round.woken {
		l.wake()
		r.round.woken[i] = nil
	}
	r.round.woken = r.round.woken[:0]
}

func (r *Relay[T]) give(l *Listener[T], rec *record[T]) {
	if l.entry == r.round.entry {
		return // already queued: the entry has several of its topics
	}
	l.entry = r.round.entry
	if l.put(&rec.Item) {
		r.wakeLater(l)
	}
}

func (r *Relay[T]) wakeLater(l *Listener[T]) {
	if l.round != r.round.number {
		l.round = r.round.number
		r.round.woken = append(r.round.woken, l)
	}
}
