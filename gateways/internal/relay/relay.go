package relay

import (
	"cmp"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// Config configures a Relay. Key and Decode are required; all other fields have defaults.
type Config[T any] struct {
	// Key is the Redis key of the stream. It need not exist yet.
	Key string
	// Decode converts an entry into the value that all listeners share, and returns its topics. It
	// is called once for each live entry, and may be called again, from several goroutines, for an
	// entry that is read as history. It must copy what it keeps of the entry. An entry for which it
	// returns an error or panics is skipped and counted.
	Decode func(e *redisio.Entry) (v T, topics []string, err error)
	// Queue is how many live items may wait for one listener. Defaults to 256.
	Queue int
	// Page is how many entries one read returns at most, live or from history. Defaults to 256.
	Page int
	// Recent is how many of the newest entries are kept for resuming listeners. Defaults to 1024.
	// RecentBytes is the largest total size of these entries. Defaults to 4 MiB. Negative disables
	// either.
	Recent      int
	RecentBytes int
	// Block is how long a read waits on the server for entries. Defaults to 1 s. At most 2 s.
	Block time.Duration
	// Reads limits the reads of history at one time. Relays may share it. Defaults to 4 for this
	// relay alone.
	Reads Reads
	// Log receives faults. Defaults to the warnings and errors of slog.Default, see flow.Logger.
	Log *slog.Logger
}

const (
	defaultQueue       = 256
	defaultPage        = 256
	defaultRecent      = 1024
	defaultRecentBytes = 4 << 20
	defaultReads       = 4
	pageBytes          = 8 << 20 // of one read, as far as sizes can be predicted
)

// Reads limits the reads of history at one time.
type Reads chan struct{}

// NewReads allows n reads at one time.
func NewReads(n int) Reads { return make(Reads, max(1, n)) }

// Validate reports all mistakes at once, each as a *redisio.ConfigError.
func (c Config[T]) Validate() error {
	m := redisio.MistakesOf("relay.Config")
	m.Empty("Key", c.Key, "name the stream to read")
	m.If(c.Decode == nil, "Decode", "is nil", "set a function that decodes an entry")
	m.Is(c.Queue < 0, "Queue", c.Queue, "leave it 0 for 256 items")
	m.Is(c.Page < 0, "Page", c.Page, "leave it 0 for 256 entries")
	m.Is(c.Block < 0 || c.Block > 2*time.Second || c.Block > 0 && c.Block < time.Millisecond, "Block", c.Block,
		"choose 1ms to 2s")
	return m.Err()
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

// ErrClosed is returned by Next after the relay or the listener was closed.
var ErrClosed = errors.New("relay: closed")

// position is an ID with its text, if known, so that the text is built once for all listeners.
type position struct {
	id   redisio.ID
	text string
}

func (p position) String() string {
	if p.text == "" {
		return p.id.String()
	}
	return p.text
}

// streamPosition is a position in one epoch of a stream.
type streamPosition struct {
	position
	epoch int
}

// Relay reads a stream for its listeners. All methods are safe for concurrent use.
//
// Locks: mu before a listener's own.
type Relay[T any] struct {
	cfg     Config[T]
	err     error // of the configuration
	server  server
	history history[T]

	mu     sync.Mutex
	open   bool       // the end of the stream is known: last is set
	last   redisio.ID // all entries up to here have been delivered
	epoch  int        // incremented when the stream turns out to be a different one
	index  index[T]
	recent recentEntries[T]
	round  round[T]
	failed error // why reading has ended

	// seen has last and epoch, after all listeners have received the entries up to there.
	seen  atomic.Pointer[streamPosition]
	count counters
}

type counters struct{ entries, gaps, dropped atomic.Int64 }

// New returns a relay. It does no I/O. Validate and Listen report mistakes in its arguments.
func New[T any](rdb redis.UniversalClient, cfg Config[T]) *Relay[T] {
	r := &Relay[T]{server: server{rdb: rdb, key: cfg.Key}, index: newIndex[T]()}
	m := redisio.MistakesOf("relay.New")
	m.Client(rdb)
	r.err = errors.Join(cfg.Validate(), m.Err())
	r.cfg = cfg.withDefaults()
	r.recent = recentEntries[T]{most: r.cfg.Recent, mostBytes: r.cfg.RecentBytes}
	r.history.cfg, r.history.server = &r.cfg, &r.server
	r.history.shared.under = make(map[pageRange]*sharedRead[T])
	r.seen.Store(&streamPosition{})
	return r
}

// Validate reports all mistakes in the arguments of New.
func (r *Relay[T]) Validate() error { return r.err }

// Graph returns a graph that consists of the Branch only.
func (r *Relay[T]) Graph() *flow.Graph {
	return flow.New("relay of "+r.cfg.Key, r.Branch(), flow.Log(r.cfg.Log))
}

// Branch returns the branch that reads the stream, for one running graph. When the graph has ended,
// listeners receive no live entries: Close the relay then, or run another graph of it, which
// continues where this one stopped.
func (r *Relay[T]) Branch() flow.Branch {
	src := flow.NewSource("relay", func() flow.Reader[*readResult] { return &tail[T]{r: r, added: -1} },
		flow.Traits{Inline: true}, flow.ChunkSize(1), flow.InvalidError(r.err))
	out := flow.NewSink("listeners", func() flow.Writer[*readResult] { return flow.WriterFunc[*readResult](r.deliver) },
		flow.ChunkSize(1))
	return flow.To(src, out)
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
	for l := range r.index.all {
		l.end(r.failed)
	}
}

// Counts are the counters of a relay since New.
type Counts struct {
	Listeners int   // current value
	Entries   int64 // read live
	Skipped   int64 // live or from history: could not be decoded
	Pages     int64 // reads of history
	Gaps      int64 // reported to listeners
	Dropped   int64 // items dropped for slow listeners
}

// Counts returns the current counters.
func (r *Relay[T]) Counts() Counts {
	r.mu.Lock()
	n := len(r.index.all)
	r.mu.Unlock()
	return Counts{n, r.count.entries.Load(), r.history.skipped.Load(), r.history.pages.Load(), r.count.gaps.Load(),
		r.count.dropped.Load()}
}
