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
	r.seen.Store(&mark{place{at, at.String()}, r.life})
	for l := range r.all {
		l.mu.Lock()
		l.stalled = false
		l.wake()
		l.mu.Unlock()
	}
}

// deliver passes entries to the listeners. It runs in the relay's graph.
func (r *Relay[T]) deliver(_ context.Context, chunk []flow.Message[*news]) error {
	for i := range chunk {
		n := chunk[i].Value
		r.hand(n, r.records(n.entries))
	}
	return nil
}

func (r *Relay[T]) hand(n *news, list []record[T]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.round++
	switch {
	case n.restarted:
		r.life++
		r.last = n.at
		r.recent.reset(n.at)
		for l := range r.all {
			l.restart(r.life, n.at, n.gap)
		}
	case n.gap != nil:
		at, _ := redisio.ParseID(n.gap.To)
		r.recent.reset(at)
		for l := range r.all {
			if l.tell(n.gap) {
				r.rouse(l)
			}
		}
	}
	r.entries.Add(int64(len(n.entries)))
	for i := range list {
		rec := &list[i]
		if rec.id.Compare(r.last) <= 0 {
			continue
		}
		r.last = rec.id
		r.entry++
		r.recent.push(*rec)
		for l := range r.every {
			r.give(l, rec)
		}
		for _, t := range rec.topics {
			for l := range r.topics[t] {
				r.give(l, rec)
			}
		}
	}
	// The last entries may not have been decodable.
	if k := len(n.entries); k > 0 && n.entries[k-1].Position.Compare(r.last) > 0 {
		r.last = n.entries[k-1].Position
	}
	r.seen.Store(&mark{place{r.last, r.last.String()}, r.life})
	for i, l := range r.woken {
		l.wake()
		r.woken[i] = nil
	}
	r.woken = r.woken[:0]
}

func (r *Relay[T]) give(l *Listener[T], rec *record[T]) {
	if l.entry == r.entry {
		return // already queued: the entry has several of its topics
	}
	l.entry = r.entry
	if l.put(&rec.Item) {
		r.rouse(l)
	}
}

func (r *Relay[T]) rouse(l *Listener[T]) {
	if l.round != r.round {
		l.round = r.round
		r.woken = append(r.woken, l)
	}
}
