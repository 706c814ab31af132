package relay

import "github.com/streamerson/streamerson-go/redisio"

// queue has the items that wait for a listener.
type queue[T any] struct {
	items []Item[T] // from head on
	head  int
	gap   *Gap      // before the items, or nil
	spare []Item[T] // items returned last, for reuse
}

// empty reports whether neither items nor a gap wait.
func (q *queue[T]) empty() bool { return q.gap == nil && q.head == len(q.items) }

// The callers of these functions hold the locks of the relay and of the listener, unless noted.

// put queues an item and reports whether to wake the listener. It takes the listener's lock itself.
func (l *Listener[T]) put(it *Item[T]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || !l.at.live || it.id.Compare(l.at.pos) <= 0 {
		return false
	}
	if len(l.queue.items)-l.queue.head >= l.r.cfg.Queue {
		switch l.opts.Overflow {
		case Close:
			l.finish(ErrTooSlow)
			return false
		case Pause:
			if l.at.pos.Compare(l.at.until) < 0 { // the queue is after history that is still to be read
				l.clear()
			} else {
				l.at.pos = it.id.Prev()
			}
			l.at.live = false
			return true
		default:
			l.drop()
		}
	}
	l.queue.items = append(l.queue.items, *it)
	return true
}

// clear empties the queue.
func (l *Listener[T]) clear() { l.queue.items, l.queue.head, l.queue.gap = nil, 0, nil }

// drop drops the oldest waiting item.
func (l *Listener[T]) drop() {
	it := &l.queue.items[l.queue.head]
	if it.gap != nil {
		l.queue.gap = l.queue.gap.and(it.gap)
	} else {
		if l.queue.gap == nil {
			l.r.count.gaps.Add(1)
		}
		l.queue.gap = l.queue.gap.and(&Gap{From: it.id.Prev().String(), To: it.Cursor, Missed: 1})
		l.r.count.dropped.Add(1)
	}
	*it = Item[T]{}
	if l.queue.head++; l.queue.head >= l.r.cfg.Queue {
		n := copy(l.queue.items, l.queue.items[l.queue.head:])
		clear(l.queue.items[n:])
		l.queue.items, l.queue.head = l.queue.items[:n], 0
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
	if l.err != nil || !l.at.live { // reading history reports it
		return false
	}
	l.mark(g)
	return true
}

func (l *Listener[T]) mark(g *Gap) {
	l.r.count.gaps.Add(1)
	if n := len(l.queue.items); n > l.queue.head && l.queue.items[n-1].gap != nil {
		l.queue.items[n-1].gap = l.queue.items[n-1].gap.and(g)
		return
	}
	own := *g
	l.queue.items = append(l.queue.items, Item[T]{gap: &own})
}

// restart continues after at in the stream that replaced the former one. g is the gap, or nil if no
// entry is missing. It takes the listener's lock itself.
func (l *Listener[T]) restart(epoch int, at redisio.ID, g *Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.at.epoch = epoch
	if l.at.behind() { // the queue is after history that is still to be read
		l.clear()
		l.at.live = false
	}
	if g != nil || l.at.pos.Compare(at) > 0 || l.at.live {
		l.at.pos, l.at.until = at, at
	}
	if l.at.given.id.Compare(at) > 0 {
		l.at.given = position{id: at}
	}
	if g != nil {
		l.mark(g)
	}
	l.wake()
}

// take removes the waiting items, up to the next gap. At least one item or gap waits. The caller
// holds the listener's lock only.
func (l *Listener[T]) take() (b Batch[T]) {
	b.Gap, l.queue.gap = l.queue.gap, nil
	for l.queue.head < len(l.queue.items) && l.queue.items[l.queue.head].gap != nil {
		b.Gap = b.Gap.and(l.queue.items[l.queue.head].gap)
		l.queue.head++
	}
	end := l.queue.head
	for end < len(l.queue.items) && l.queue.items[end].gap == nil {
		end++
	}
	if end == len(l.queue.items) { // all items: return the queue, and reuse the slice returned before
		b.Items = l.queue.items[l.queue.head:]
		l.queue.items, l.queue.spare, l.queue.head = l.queue.spare[:0], l.queue.items, 0
	} else {
		b.Items = append([]Item[T](nil), l.queue.items[l.queue.head:end]...)
		clear(l.queue.items[:end])
		l.queue.head = end
	}
	switch n := len(b.Items); {
	case n > 0:
		l.at.given = position{b.Items[n-1].id, b.Items[n-1].Cursor}
	case b.Gap != nil:
		at, _ := redisio.ParseID(b.Gap.To)
		l.at.given = position{at, b.Gap.To}
	}
	return b
}

// recycle releases the items returned last. It keeps only a small slice, because most listeners are
// idle most of the time.
func (l *Listener[T]) recycle() {
	if cap(l.queue.spare) > keptItems {
		l.queue.spare = nil
		return
	}
	clear(l.queue.spare[:cap(l.queue.spare)])
	l.queue.spare = l.queue.spare[:0]
}

// keptItems is the largest capacity of an emptied slice that is kept.
const keptItems = 16
