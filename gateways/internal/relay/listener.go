package relay

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

// Overflow defines what happens when entries arrive faster than a listener reads them.
type Overflow int

const (
	// Pause lets the listener read from history at its own pace, with Redis as its buffer. Entries
	// that are trimmed before it reads them are reported as a Gap. It is the default.
	Pause Overflow = iota
	// DropOldest drops the oldest waiting items and reports them as a Gap.
	DropOldest
	// Close ends the listener: Next returns ErrTooSlow.
	Close
)

// ErrTooSlow is returned by Next when more than Config.Queue items waited for a listener with
// Close.
var ErrTooSlow = errors.New("relay: listener is too slow")

// Options configure a listener. With the zero value it receives nothing until it adds topics.
type Options struct {
	// From is a cursor: later entries are delivered. "0" is the beginning of the existing entries
	// ("0-0" is the cursor of a stream without entries). A number alone is a time in Unix
	// milliseconds; a future time means now. "" is now: entries written after Listen returned are
	// delivered, and perhaps some written shortly before.
	From string
	// Topics are the topics to receive. All receives all entries.
	Topics []string
	All    bool
	// Overflow is what happens when the listener is too slow. Defaults to Pause.
	Overflow Overflow
	// Idle is how long Next waits at most. Then it returns a Batch without items. Its Cursor may
	// have moved. Defaults to 0, which means no limit.
	Idle time.Duration
	// Wake is called when Next or Poll may have something to return. It is called with locks of the
	// relay held, so it must neither block nor call the listener.
	Wake func()
}

// Item is one entry.
type Item[T any] struct {
	Cursor string // ID of the entry
	Value  T

	id  redisio.ID
	gap *Gap // set if this is a gap, not an entry
}

// Gap reports that entries may be missing: those after From, up to To. The listener continues after
// To, which is before From if the stream was replaced.
type Gap struct {
	From, To string
	Missed   int // entries of the listener's topics; -1 if not known
}

// Batch is the result of Next. The gap comes before the items. Both may be missing.
type Batch[T any] struct {
	Gap   *Gap
	Items []Item[T] // valid until the next call of Next
	// Cursor is where a listener that has handled this batch continues. It also moves past entries
	// of other topics.
	Cursor string
}

// Listener receives the entries of some topics. Only one goroutine at a time may call Next; all
// other methods are safe for concurrent use.
type Listener[T any] struct {
	r      *Relay[T]
	opts   Options
	wakeup chan struct{} // holds a token when there is something to check
	timer  *time.Timer   // of Idle; nil until needed

	closed  func() // releases its place in a Pool; nil without one
	closing sync.Once

	// Guarded by the relay's lock.
	round uint64 // the last delivery that woke it
	entry uint64 // the last entry it was given, because topics may overlap

	mu     sync.Mutex
	topics map[string]struct{}
	queue  queue[T]
	at     progress
	err    error // why the listener has ended
}

// progress is what a listener has been given.
//
// If live, new entries are queued as they arrive. Entries after pos, up to until, are read from
// history before the queue is read. If not live, the queue is read first, and all entries after pos
// are read from history.
type progress struct {
	live    bool
	pos     redisio.ID
	until   redisio.ID
	epoch   int      // the relay's epoch that pos belongs to
	given   position // cursor of the last returned batch
	stalled bool     // all history is read, but no entries are live yet
}

// behind reports whether a live listener has history to read before its queue.
func (p *progress) behind() bool { return p.live && p.pos.Compare(p.until) < 0 }

// Listen returns a new listener. The context limits the lookup of where it starts. Listen returns a
// *CursorError, ErrClosed, mistakes of the configuration, or an error of Redis. The caller must
// Close the listener.
func (r *Relay[T]) Listen(ctx context.Context, o Options) (*Listener[T], error) {
	if r.err != nil {
		return nil, r.err
	}
	from, err := parseCursor(o.From)
	if err != nil {
		return nil, err
	}
	l := &Listener[T]{r: r, opts: o, wakeup: make(chan struct{}, 1), topics: make(map[string]struct{}, len(o.Topics))}
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
	l.at.epoch, l.at.pos, l.at.given = r.epoch, begin.at, position{id: begin.at}
	if begin.gap != nil {
		l.queue.gap = begin.gap
		r.count.gaps.Add(1)
	}
	r.add(l)
	l.wake()
	return l, nil
}

// joins adds a listener that can start from memory, without querying Redis.
func (r *Relay[T]) joins(l *Listener[T], from cursor) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.failed != nil:
		return false, r.failed
	case !r.open:
		return false, nil
	case from.now:
		l.at.pos, l.at.live, l.at.until = r.last, true, r.last
	case from.exact && r.recent.has(from.id):
		l.at.pos = from.id
	default:
		return false, nil
	}
	l.at.epoch, l.at.given = r.epoch, position{id: l.at.pos}
	r.add(l)
	l.wake()
	return true, nil
}

// add registers a listener. The caller holds the relay's lock.
func (r *Relay[T]) add(l *Listener[T]) {
	r.index.all[l] = struct{}{}
	if l.opts.All {
		r.index.every[l] = struct{}{}
	}
	l.subscribe(l.opts.Topics)
}

// Add subscribes to topics: their entries are delivered from now on. While the listener is behind,
// some earlier ones may be delivered too.
func (l *Listener[T]) Add(topics ...string) { l.add(topics) }

// add subscribes to topics and returns the ID after which their entries are delivered.
func (l *Listener[T]) add(topics []string) redisio.ID {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	if _, on := l.r.index.all[l]; !on {
		return redisio.ID{}
	}
	l.subscribe(topics)
	return l.topicStart()
}

// topicStart returns the ID after which the entries of a newly added topic are delivered. It never
// decreases while the stream is the same. The caller holds the relay's lock.
func (l *Listener[T]) topicStart() redisio.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at.live && l.at.pos.Compare(l.at.until) >= 0 {
		return l.r.last
	}
	return l.at.pos // these entries are still to be read from history
}

func (l *Listener[T]) subscribe(topics []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range topics {
		l.r.index.add(t, l)
		l.topics[t] = struct{}{}
	}
}

// Remove unsubscribes from topics. Items that already wait are still delivered.
func (l *Listener[T]) Remove(topics ...string) {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range topics {
		l.r.index.remove(t, l)
		delete(l.topics, t)
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

// end is finish for callers that hold the relay's lock only.
func (l *Listener[T]) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finish(err)
}

// finish ends the listener with an error. The caller holds both locks.
func (l *Listener[T]) finish(err error) {
	if l.err != nil {
		return
	}
	l.err, l.queue.items, l.queue.head, l.queue.gap = err, nil, 0, nil
	delete(l.r.index.all, l)
	delete(l.r.index.every, l)
	for t := range l.topics {
		l.r.index.remove(t, l)
	}
	l.wake()
}

func (l *Listener[T]) wake() {
	select {
	case l.wakeup <- struct{}{}:
	default:
	}
	if l.opts.Wake != nil {
		l.opts.Wake()
	}
}

// Cursor is where a listener that has handled everything Next returned continues.
func (l *Listener[T]) Cursor() string {
	seen := *l.r.seen.Load() // before the queue is checked, which has all entries up to here
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pass(seen)
	return l.at.given.String()
}

// pass moves the cursor past entries of other topics if nothing waits. seen was loaded before the
// lock was taken.
func (l *Listener[T]) pass(seen streamPosition) {
	if l.at.live && !l.at.behind() && l.at.epoch == seen.epoch && l.queue.empty() &&
		l.at.given.id.Compare(seen.id) < 0 {
		l.at.given = seen.position
	}
}
