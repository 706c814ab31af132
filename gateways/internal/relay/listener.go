package relay

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

// Overflow is what becomes of a listener that is slower than its entries come.
type Overflow int

const (
	// Pause lets it read on from history, at its own pace: Redis is its buffer. What is trimmed before it gets there is
	// told as a Gap. It is the default.
	Pause Overflow = iota
	// DropOldest drops what has waited longest, and tells so as a Gap.
	DropOldest
	// Close ends it: Next returns ErrTooSlow.
	Close
)

// ErrTooSlow is what Next returns when more than Config.Queue items waited for a listener with Close.
var ErrTooSlow = errors.New("relay: the listener is too slow")

// Options say what a listener wants. The zero value is a listener of nothing, until it adds topics.
type Options struct {
	// From is a cursor: what comes behind it is delivered. "0" is the beginning of what there is
	// ("0-0" is the cursor of a stream that had no entries yet), a number alone is a time in Unix
	// milliseconds, or now if that is still to come, and "" is now: what is written from when
	// Listen returned, and perhaps what was written just before.
	From string
	// Topics are what it wants, and All whether it wants all entries.
	Topics []string
	All    bool
	// Overflow is what becomes of it when it is too slow.
	Overflow Overflow
	// Idle is how long Next waits at most: then it returns a Batch without items, whose Cursor may
	// have moved. 0 is for ever.
	Idle time.Duration
	// Wake is called when there is something for Next or Poll to look at. It is called with locks
	// of the relay held: it must neither block nor call the listener.
	Wake func()
}

// Item is one entry.
type Item[T any] struct {
	Cursor string // ID of the entry
	Value  T

	id  redisio.ID
	gap *Gap // this is no item, but tells of a gap here
}

// Gap says that entries may be missing: those behind From, up to To. It goes on behind To, which
// lies before From when the stream is another one now.
type Gap struct {
	From, To string
	Missed   int // how many of what the listener wants; -1 if that is not known
}

// Batch is what Next returns. The gap comes before the items. Both may be missing.
type Batch[T any] struct {
	Gap   *Gap
	Items []Item[T] // valid until the next call of Next
	// Cursor is where a listener goes on that has seen this batch. It moves past entries that are
	// not for the listener too.
	Cursor string
}

// Listener gets the entries of some topics. Next is for one goroutine at a time, the rest for any.
type Listener[T any] struct {
	r     *Relay[T]
	opts  Options
	news  chan struct{} // holds a token when there is something to look at
	timer *time.Timer   // of Idle; nil until it is needed

	closed  func() // tells its Pool; nil if there is none
	closing sync.Once

	// Of the relay's lock.
	round uint64 // the round of delivery it was woken in
	entry uint64 // the entry it was given last: topics may meet

	mu     sync.Mutex
	topics map[string]struct{}
	queue  []Item[T] // from head on: what waits
	head   int
	lost   *Gap      // before it; nil if there is none
	spare  []Item[T] // what was handed out last
	// live: entries are queued as they come. What lies behind pos, up to until, is read from
	// history before the queue is looked at. Not live: the queue is what came first, and behind pos
	// all is history.
	live    bool
	pos     redisio.ID
	until   redisio.ID
	life    int   // the relay's, that pos is of
	given   place // the cursor of what was handed out
	stalled bool  // all history is read, and nothing is live yet
	err     error // why it has ended
}

// Listen makes a listener. The context is for finding out where it begins. Errors are a
// *CursorError, ErrClosed, mistakes of the configuration, and what Redis says. Close the listener
// when it is done.
func (r *Relay[T]) Listen(ctx context.Context, o Options) (*Listener[T], error) {
	if r.err != nil {
		return nil, r.err
	}
	from, err := parseCursor(o.From)
	if err != nil {
		return nil, err
	}
	l := &Listener[T]{r: r, opts: o, news: make(chan struct{}, 1), topics: make(map[string]struct{}, len(o.Topics))}
	if ok, err := r.joins(l, from); ok || err != nil {
		return l, err
	}
	begin, err := r.begin(ctx, from)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		return nil, r.failed
	}
	l.life, l.pos, l.given = r.life, begin.at, place{id: begin.at}
	if begin.gap != nil {
		l.lost = begin.gap
		r.gaps.Add(1)
	}
	r.add(l)
	l.wake()
	return l, nil
}

// joins adds a listener that begins with what is in memory. r has no need to be asked then.
func (r *Relay[T]) joins(l *Listener[T], from cursor) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.failed != nil:
		return false, r.failed
	case !r.open:
		return false, nil
	case from.now:
		l.pos, l.live, l.until = r.last, true, r.last
	case from.exact && r.recent.has(from.id):
		l.pos = from.id
	default:
		return false, nil
	}
	l.life, l.given = r.life, place{id: l.pos}
	r.add(l)
	l.wake()
	return true, nil
}

// add is to be called with the lock held.
func (r *Relay[T]) add(l *Listener[T]) {
	r.all[l] = struct{}{}
	if l.opts.All {
		r.every[l] = struct{}{}
	}
	l.index(l.opts.Topics)
}

// Add makes a listener want topics: entries that are written from now on, and, while it is behind,
// perhaps some that were written before.
func (l *Listener[T]) Add(topics ...string) { l.add(topics) }

// add returns the place that the topics are wanted from: what lies behind it is delivered.
func (l *Listener[T]) add(topics []string) redisio.ID {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	if _, on := l.r.all[l]; !on {
		return redisio.ID{}
	}
	l.index(topics)
	return l.place()
}

// place is where topics that are added now are wanted from. It never goes back while the stream is
// the same. The relay's lock is held.
func (l *Listener[T]) place() redisio.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live && l.pos.Compare(l.until) >= 0 {
		return l.r.last
	}
	return l.pos // history that is yet to be read has them
}

func (l *Listener[T]) index(topics []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range topics {
		if l.r.topics[t] == nil {
			l.r.topics[t] = make(map[*Listener[T]]struct{})
		}
		l.r.topics[t][l] = struct{}{}
		l.topics[t] = struct{}{}
	}
}

// Remove ends what Add began. What waits already is delivered.
func (l *Listener[T]) Remove(topics ...string) {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range topics {
		l.r.unlist(t, l)
		delete(l.topics, t)
	}
}

func (r *Relay[T]) unlist(topic string, l *Listener[T]) {
	delete(r.topics[topic], l)
	if len(r.topics[topic]) == 0 {
		delete(r.topics, topic)
	}
}

// Close ends the listener. Next returns ErrClosed. A second Close does nothing.
func (l *Listener[T]) Close() {
	l.closing.Do(func() {
		l.r.mu.Lock()
		l.end(ErrClosed)
		l.r.mu.Unlock()
		if l.closed != nil {
			l.closed()
		}
	})
}

// end is to be called with the relay's lock held.
func (l *Listener[T]) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finish(err)
}

// finish is to be called with both locks held.
func (l *Listener[T]) finish(err error) {
	if l.err != nil {
		return
	}
	l.err, l.queue, l.head, l.lost = err, nil, 0, nil
	delete(l.r.all, l)
	delete(l.r.every, l)
	for t := range l.topics {
		l.r.unlist(t, l)
	}
	l.wake()
}

func (l *Listener[T]) wake() {
	select {
	case l.news <- struct{}{}:
	default:
	}
	if l.opts.Wake != nil {
		l.opts.Wake()
	}
}

// Cursor is where a listener goes on that has handled all that Next returned.
func (l *Listener[T]) Cursor() string {
	seen := *l.r.seen.Load() // before the queue is looked at: all up to here is in it
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pass(seen)
	return l.given.String()
}

// pass moves the cursor past what was not for the listener, when nothing waits. seen was current
// before the lock was taken.
func (l *Listener[T]) pass(seen mark) {
	if l.live && l.life == seen.life && l.lost == nil && l.head == len(l.queue) && l.pos.Compare(l.until) >= 0 &&
		l.given.id.Compare(seen.id) < 0 {
		l.given = seen.place
	}
}
