package redisio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// RangeConfig configures a RangeReader. Key is required.
type RangeConfig struct {
	Key      string
	From     ID  // the first entry that counts; see [IDAt] for times. Default: the beginning
	To       ID  // the last entry that counts. Default: the end as it is when reading gets there
	MaxCount int // cap of one reply; default 1000
	// EntrySize is how many bytes entries have, roughly. By default nothing is known of them, and
	// the first read asks for 16.
	EntrySize int
	// OnEvent is told of EventAskingLess and EventRefused. It must not block.
	OnEvent func(Event)
}

// Validate reports all mistakes at once, each as a *ConfigError.
func (c RangeConfig) Validate() error {
	var errs []error
	bad := func(field, problem, fix string) {
		errs = append(errs, &ConfigError{"RangeConfig", field, problem, fix})
	}
	if c.Key == "" {
		bad("Key", "is empty", "name the stream to read")
	}
	if !c.To.IsZero() && c.To.Compare(c.From) < 0 {
		bad("To", fmt.Sprintf("%v lies before From %v", c.To, c.From), "swap them, or leave To zero for the end")
	}
	if c.MaxCount < 0 {
		bad("MaxCount", "is negative", "leave it 0 for 1000")
	}
	if c.EntrySize < 0 {
		bad("EntrySize", "is negative", "leave it 0 if it is not known")
	}
	return errors.Join(errs...)
}

// RangeReader reads a piece of a stream, page by page. Reading changes nothing on the server.
type RangeReader struct {
	cfg    RangeConfig
	rdb    redis.UniversalClient
	next   ID
	ended  bool
	asking asking
	reads  Patience
	full   bool // the last reply had all that was asked for
	state  atomic.Int32
}

// NewRangeReader checks the configuration. It does no I/O.
func NewRangeReader(rdb redis.UniversalClient, cfg RangeConfig) (*RangeReader, error) {
	if err := errors.Join(needClient(rdb, "NewRangeReader"), cfg.Validate()); err != nil {
		return nil, err
	}
	def(&cfg.MaxCount, 1000)
	if cfg.To.IsZero() {
		cfg.To = ID{math.MaxUint64, math.MaxUint64}
	}
	r := &RangeReader{cfg: cfg, rdb: rdb, next: cfg.From}
	if cfg.EntrySize > 0 {
		r.asking = asking{size: float64(cfg.EntrySize), most: noBound}
	}
	return r, nil
}

// Open is there so that all readers look alike: a range uses the caller's client, for it neither
// blocks nor writes.
func (r *RangeReader) Open(context.Context) error {
	if r.state.Load() == readerClosed {
		return ErrClosed
	}
	r.state.Store(readerOpen)
	return nil
}

// Read fills b with the next 1 to count entries; io.EOF says that there are no more. After another
// error reading goes on where it was. It is for one goroutine at a time.
func (r *RangeReader) Read(ctx context.Context, count int, maxBytes int64, b *Batch) error {
	b.reset()
	if count < 1 {
		return fmt.Errorf("redisio: read %d entries of %q: ask for at least one", count, keyName(r.cfg.Key))
	}
	switch r.state.Load() {
	case readerNew:
		return ErrNotOpen
	case readerClosed:
		return ErrClosed
	}
	if r.ended {
		return io.EOF
	}
	if err := ended(ctx); err != nil {
		return err
	}
	err := r.page(ctx, min(count, r.cfg.MaxCount), maxBytes, b)
	if err != nil {
		if gone := ended(ctx); gone != nil {
			return gone
		}
		var first bool
		if err, first = r.reads.look(err); first && r.cfg.OnEvent != nil {
			r.cfg.OnEvent(refused(r.cfg.Key, err))
		}
		if judge(err) == permanent {
			return &PermanentError{"read", r.cfg.Key, err}
		}
		return fmt.Errorf("redisio: read %q from %v: %w", keyName(r.cfg.Key), r.next, err)
	}
	r.reads.Worked()
	if len(b.Entries) == 0 {
		r.ended = true
		return io.EOF
	}
	r.asking.learn(b)
	last, err := ParseID(b.Entries[len(b.Entries)-1].ID)
	if err != nil {
		return err
	}
	r.next = last.Next()
	r.ended = last.Compare(r.cfg.To) >= 0
	return nil
}

// page fills b with the next entries.
func (r *RangeReader) page(ctx context.Context, most int, maxBytes int64, b *Batch) (err error) {
	r.full, err = r.asking.page(ctx, r.rdb, most, maxBytes, b, r.cfg.OnEvent, "xrange", r.cfg.Key, r.next, r.cfg.To)
	return err
}

// page fills b with entries by XRANGE or XREVRANGE, and reports whether all that was asked for
// came. A reply that is cut off is asked for again, with fewer entries, which tell, if given, is
// told of.
func (a *asking) page(ctx context.Context, rdb redis.UniversalClient, most int, maxBytes int64, b *Batch,
	tell func(Event), cmd, key string, from, to ID) (full bool, err error) {
	for tries := 1; ; tries++ {
		count := a.count(most, maxBytes)
		l := limit{bytes: limitFor(count, maxBytes)}
		err = rawEntries(ctx, rdb, l, b, cmd, key, from.String(), to.String(), "count", count)
		full = len(b.Entries) == count || err == errFront
		if err == errFront {
			err = nil
		}
		less := a.failed(count, err)
		if less && tell != nil {
			e := Event{Kind: EventAskingLess, Key: key, Count: a.few, Err: err}
			notify("RangeConfig.OnEvent", func() { tell(e) })
		}
		again := isCut(err) || l.bytes > 0 && judge(err) == broken // what go-redis does not try again
		if !again || tries >= cutTries && !less || !sleep(ctx, nil, backoff(min(tries, 4))) {
			return full, err
		}
	}
}

// More reports that the last Read brought all that it asked for: there may be more, unless that was the last entry.
func (r *RangeReader) More() bool { return r.full && !r.ended }

// Close ends the reader. The client is the caller's and stays open.
func (r *RangeReader) Close(context.Context) error {
	r.state.Store(readerClosed)
	return nil
}

// rawEntries fills b with the reply of a command that reads entries, by the caller's client; beyond
// the limit with its front, and returns errFront.
func rawEntries(ctx context.Context, rdb redis.UniversalClient, l limit, b *Batch, args ...any) error {
	cluster, _ := rdb.(*redis.ClusterClient)
	for n := 1; ; n++ {
		raw, err := processRaw(ctx, rdb, 1, l, args)
		if front := errors.Is(err, errFront); err == nil || front {
			if front {
				err = errFront
			}
			if err = parsedFront(b, 0, err, parseEntries(raw, 0, b)); err != nil && err != errFront {
				b.reset()
			}
		}
		if cluster == nil || judge(err) != moved || n > 5 {
			return err
		}
		cluster.ReloadState(ctx) // a raw reply hides from go-redis that the slot has moved
		if !sleep(ctx, nil, backoff(n)) {
			return ended(ctx)
		}
	}
}
