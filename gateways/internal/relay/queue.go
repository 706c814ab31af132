package relay

import "github.com/streamerson/streamerson-go/redisio"

// The callers of these functions hold the locks of the relay and of the listener, unless noted.

// put queues an item and reports whether to wake the listener. It takes the listener's lock itself.
func (l *Listener[T]) put(it *Item[T]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || !l.live || it.id.Compare(l.pos) <= 0 {
		return false
	}
	if len(l.queue)-l.head >= l.r.cfg.Queue {
		switch l.opts.Overflow {
		case Close:
			l.finish(ErrTooSlow)
			return false
		case Pause:
			if l.pos.Compare(l.until) < 0 { // the queue is after history that is still to be read
				l.clear()
			} else {
				l.pos = it.id.Prev()
			}
			l.live = false
			return true
		default:
			l.drop()
		}
	}
	l.queue = append(l.queue, *it)
	return true
}

// clear empties the queue.
func (l *Listener[T]) clear() { l.queue, l.head, l.lost = nil, 0, nil }

// drop drops the oldest waiting item.
func (l *Listener[T]) drop() {
	it := &l.queue[l.head]
	if it.gap != nil {
		l.lost = l.lost.and(it.gap)
	} else {
		if l.lost == nil {
			l.r.gaps.Add(1)
		}
		l.lost = l.lost.and(&Gap{From: it.id.Prev().String(), To: it.Cursor, Missed: 1})
		l.r.dropped.Add(1)
	}
	*it = Item[T]{}
	if l.head++; l.head >= l.r.cfg.Queue {
		n := copy(l.queue, l.queue[l.head:])
		clear(l.queue[n:])
		l.queue, l.head = l.queue[:n], 0
	}
}

// and joins g, which may be nil, with the next gap.
func (g *Gap) and(next *Gap) *Gap {
	if g == nil {
		own := *next
		return &own
	}
	g.To = next.To
	if g.Missed < 0 || next.Missed < 0 {
		g.Missed = -1
	} else {
		g.Missed += next.Missed
	}
	return g
}

// tell queues a gap. It takes the listener's lock itself.
func (l *Listener[T]) tell(g *Gap) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || !l.live { // reading history reports it
		return false
	}
	l.mark(g)
	return true
}

func (l *Listener[T]) mark(g *Gap) {
	l.r.gaps.Add(1)
	if n := len(l.queue); n > l.head && l.queue[n-1].gap != nil {
		l.queue[n-1].gap = l.queue[n-1].gap.and(g)
		return
	}
	own := *g
	l.queue = append(l.queue, Item[T]{gap: &own})
}

// restart continues after at in the stream that replaced the former one. g is the gap, or nil if no
// entry is missing. It takes the listener's lock itself.
func (l *Listener[T]) restart(life int, at redisio.ID, g *Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.life = life
	if l.live && l.pos.Compare(l.until) < 0 { // the queue is after history that is still to be read
		l.clear()
		l.live = false
	}
	if g != nil || l.pos.Compare(at) > 0 || l.live {
		l.pos, l.until = at, at
	}
	if l.given.id.Compare(at) > 0 {
		l.given = place{id: at}
	}
	if g != nil {
		l.mark(g)
	}
	l.wake()
}

// take removes the waiting items, up to the next gap. At least one item or gap waits. The caller
// holds the listener's lock only.
func (l *Listener[T]) take() (b Batch[T]) {
	b.Gap, l.lost = l.lost, nil
	for l.head < len(l.queue) && l.queue[l.head].gap != nil {
		b.Gap = b.Gap.and(l.queue[l.head].gap)
		l.head++
	}
	end := l.head
	for end < len(l.queue) && l.queue[end].gap == nil {
		end++
	}
	if end == len(l.queue) { // all items: return the queue, and reuse the slice returned before
		b.Items = l.queue[l.head:]
		l.queue, l.spare, l.head = l.spare[:0], l.queue, 0
	} else {
		b.Items = append([]Item[T](nil), l.queue[l.head:end]...)
		clear(l.queue[:end])
		l.head = end
	}
	switch n := len(b.Items); {
	case n > 0:
		l.given = place{b.Items[n-1].id, b.Items[n-1].Cursor}
	case b.Gap != nil:
		at, _ := redisio.ParseID(b.Gap.To)
		l.given = place{at, b.Gap.To}
	}
	return b
}

// recycle releases the items returned last. It keeps only a small slice, because most listeners are
// idle most of the time.
func (l *Listener[T]) recycle() {
	if cap(l.spare) > keptItems {
		l.spare = nil
		return
	}
	clear(l.spare[:cap(l.spare)])
	l.spare = l.spare[:0]
}

// keptItems is the largest capacity of an emptied slice that is kept.
const keptItems = 16
