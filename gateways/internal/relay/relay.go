package relay

import (
	"cmp"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// Config configures a Relay. Key and Decode are required; the zero value of the rest is the default.
type Config[T any] struct {
	// Key is the Redis key of the stream. It need not exist yet.
	Key string
	// Decode makes of an entry the value that all listeners share, and says which topics it is of:
	// who wants it. It is called once for each entry that is live, and may be called again for one
	// that is read as history, by several goroutines at once. What it keeps of the entry it has to
	// copy. An entry that it returns an error for, or panics at, is skipped and counted.
	Decode func(e *redisio.Entry) (v T, topics []string, err error)
	// Queue is how many live items may wait for one listener. The default is 256.
	Queue int
	// Page is how many entries one read takes at most, live or of history. The default is 256.
	Page int
	// Recent is how many of the newest entries are kept for listeners that resume, and RecentBytes
	// how large the entries that they were made of may be together. The defaults are 1024 and 4
	// MiB; negative means none.
	Recent      int
	RecentBytes int
	// Block is how long a read waits on the server for entries. The default is 1 s, the most 2 s.
	Block time.Duration
	// Reads bounds how many reads of history may be under way; relays may share it. The default is 4 of its own.
	Reads Reads
	// Log gets faults. Defaults to the warnings and errors of slog.Default, see flow.Logger.
	Log *slog.Logger
}

const (
	defaultQueue       = 256
	defaultPage        = 256
	defaultRecent      = 1024
	defaultRecentBytes = 4 << 20
	defaultReads       = 4
	pageBytes          = 8 << 20 // of one read, as far as sizes can be foreseen
)

// Reads bounds reads of history.
type Reads chan struct{}

// NewReads lets n reads through at once.
func NewReads(n int) Reads { return make(Reads, max(1, n)) }

// Validate reports all mistakes at once, each as a *redisio.ConfigError.
func (c Config[T]) Validate() error {
	var errs []error
	bad := func(field, problem, fix string) {
		errs = append(errs, &redisio.ConfigError{Type: "relay.Config", Field: field, Problem: problem, Fix: fix})
	}
	if c.Key == "" {
		bad("Key", "is empty", "name the stream to read")
	}
	if c.Decode == nil {
		bad("Decode", "is nil", "say what becomes of an entry")
	}
	if c.Queue < 0 {
		bad("Queue", "is "+strconv.Itoa(c.Queue), "leave it 0 for 256 items")
	}
	if c.Page < 0 {
		bad("Page", "is "+strconv.Itoa(c.Page), "leave it 0 for 256 entries")
	}
	if c.Block < 0 || c.Block > 2*time.Second || c.Block > 0 && c.Block < time.Millisecond {
		bad("Block", "is "+c.Block.String(), "choose 1ms to 2s")
	}
	return errors.Join(errs...)
}

func (c Config[T]) withDefaults() Config[T] {
	c.Queue = cmp.Or(c.Queue, defaultQueue)
	c.Page = cmp.Or(c.Page, defaultPage)
	c.Recent = cmp.Or(c.Recent, defaultRecent)
	c.RecentBytes = cmp.Or(c.RecentBytes, defaultRecentBytes)
	c.Log = flow.Thinned(c.Log)
	if c.Reads == nil {
		c.Reads = NewReads(defaultReads)
	}
	return c
}

// ErrClosed is what Next returns when the relay, or the listener, was closed.
var ErrClosed = errors.New("relay: closed")

// place is an ID, and its text where that is known: a text is made once for all listeners.
type place struct {
	id   redisio.ID
	text string
}

func (p place) String() string {
	if p.text == "" {
		return p.id.String()
	}
	return p.text
}

// mark is a place in one life of a stream.
type mark struct {
	place
	life int
}

// Relay reads a stream for its listeners. All methods are safe for concurrent use.
//
// Locks: mu before a listener's own.
type Relay[T any] struct {
	cfg Config[T]
	rdb redis.UniversalClient
	err error // of the configuration

	mu     sync.Mutex
	open   bool       // it is known where the stream ended: last is set
	last   redisio.ID // what is up to here has been handed out
	life   int        // how often the stream turned out to be another one
	all    map[*Listener[T]]struct{}
	every  map[*Listener[T]]struct{} // those that want all entries
	topics map[string]map[*Listener[T]]struct{}
	recent recent[T]
	round  uint64 // of deliver
	entry  uint64 // how many entries were handed out
	woken  []*Listener[T]
	failed error // why nothing is read any more

	seen    atomic.Pointer[mark] // last and life, once all listeners have what is up to there
	size    atomic.Int64         // of the larger entries
	flights flights[T]

	entries, skipped, gaps, pages, dropped atomic.Int64
}

// New makes a relay. It does no I/O. Mistakes in its arguments are what Listen fails with, and Validate.
func New[T any](rdb redis.UniversalClient, cfg Config[T]) *Relay[T] {
	r := &Relay[T]{rdb: rdb, all: make(map[*Listener[T]]struct{}), every: make(map[*Listener[T]]struct{}),
		topics: make(map[string]map[*Listener[T]]struct{})}
	r.err = cfg.Validate()
	if redisio.IsNilClient(rdb) {
		r.err = errors.Join(
			r.err,
			&redisio.ConfigError{Type: "relay.New", Field: "rdb", Problem: "the Redis client is nil",
				Fix: "pass one, see redisio.Connect"},
		)
	}
	r.cfg = cfg.withDefaults()
	r.recent = recent[T]{most: r.cfg.Recent, mostBytes: r.cfg.RecentBytes}
	r.flights.under = make(map[span]*flight[T])
	r.seen.Store(&mark{})
	return r
}

// Validate reports what is wrong with what the relay was made of.
func (r *Relay[T]) Validate() error { return r.err }

// Graph is a graph of nothing but the Branch.
func (r *Relay[T]) Graph() *flow.Graph {
	return flow.New("relay of "+r.cfg.Key, r.Branch(), flow.Log(r.cfg.Log))
}

// Branch is what reads the stream, for one graph that runs. When the graph ends nothing is live any
// more: Close the relay then, or run another graph of it, which goes on where this one was.
func (r *Relay[T]) Branch() flow.Branch {
	opts := []flow.StageOption{flow.Name("relay"), flow.Inline(), flow.ChunkSize(1)}
	if r.err != nil {
		opts = append(opts, flow.InvalidError(r.err))
	}
	src := flow.NewSource("relay", func() flow.Reader[*news] { return &tail[T]{r: r, added: -1} }, opts...)
	return flow.To(
		src,
		flow.NewSink(
			"listeners",
			func() flow.Writer[*news] { return flow.WriterFunc[*news](r.deliver) },
			flow.ChunkSize(1),
		),
	)
}

// Close ends all listeners: their Next returns ErrClosed.
func (r *Relay[T]) Close() { r.fail(ErrClosed) }

// fail ends all listeners.
func (r *Relay[T]) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = err
	}
	for l := range r.all {
		l.end(r.failed)
	}
}

// Counts are what a relay did since it was made.
type Counts struct {
	Listeners int   // now
	Entries   int64 // read live
	Skipped   int64 // of these and of history: could not be decoded
	Pages     int64 // reads of history
	Gaps      int64 // told to listeners
	Dropped   int64 // items that listeners were too slow for
}

// Counts tells what the relay did.
func (r *Relay[T]) Counts() Counts {
	r.mu.Lock()
	n := len(r.all)
	r.mu.Unlock()
	return Counts{n, r.entries.Load(), r.skipped.Load(), r.pages.Load(), r.gaps.Load(), r.dropped.Load()}
}
