package reader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// RangeConfig configures a Range. Key is required.
type RangeConfig struct {
	Key      string
	From     redisio.ID // the first entry; see [redisio.IDAt] for times; default: the beginning
	To       redisio.ID // the last entry; default: the end at the time of reading
	MaxCount int        // cap of one reply; default 1000
	// EntrySize is the approximate size of an entry in bytes. If it is 0, the first read asks for
	// 16 entries.
	EntrySize int
	// OnEvent receives EventAskingLess and EventRefused. It must not block.
	OnEvent func(redisio.Event)
}

// Validate reports all mistakes at once, each as a *ConfigError.
func (c RangeConfig) Validate() error {
	m := redisio.MistakesOf("RangeConfig")
	m.Empty("Key", c.Key, "name the stream to read")
	m.If(!c.To.IsZero() && c.To.Compare(c.From) < 0, "To", fmt.Sprintf("%v lies before From %v", c.To, c.From),
		"swap them, or leave To zero for the end")
	m.Negative("MaxCount", int64(c.MaxCount), "leave it 0 for 1000")
	m.Negative("EntrySize", int64(c.EntrySize), "leave it 0 if it is not known")
	return m.Err()
}

// Range reads a part of a stream, page by page. Reading changes nothing on the server.
type Range struct {
	cfg    RangeConfig
	rdb    redis.UniversalClient
	next   redisio.ID
	ended  bool
	asking conn.Asking
	reads  redisio.Patience
	full   bool // the last reply had all that was asked for
	state  atomic.Int32
}

// NewRange checks the configuration. It does no I/O.
func NewRange(rdb redis.UniversalClient, cfg RangeConfig) (*Range, error) {
	if err := errors.Join(check.NeedClient(rdb, "reader.NewRange"), cfg.Validate()); err != nil {
		return nil, err
	}
	cfg.MaxCount = cmp.Or(cfg.MaxCount, 1000)
	if cfg.To.IsZero() {
		cfg.To = redisio.ID{Ms: math.MaxUint64, Seq: math.MaxUint64}
	}
	r := &Range{cfg: cfg, rdb: rdb, next: cfg.From}
	if cfg.EntrySize > 0 {
		r.asking = conn.Asking{Size: float64(cfg.EntrySize), Most: conn.NoBound}
	}
	return r, nil
}

// Open exists because all readers have it. A Range uses the caller's client, because it neither
// blocks nor writes.
func (r *Range) Open(context.Context) error {
	if r.state.Load() == readerClosed {
		return redisio.ErrClosed
	}
	r.state.Store(readerOpen)
	return nil
}

// Read fills b with the next 1 to count entries; io.EOF means that there are no more. After another
// error the next Read continues at the same position. Only one goroutine at a time may call it.
func (r *Range) Read(ctx context.Context, count int, maxBytes int64, b *redisio.Batch) error {
	b.Reset()
	if count < 1 {
		return fmt.Errorf("redisio: read %d entries of %q: ask for at least one", count, fault.KeyName(r.cfg.Key))
	}
	switch r.state.Load() {
	case readerNew:
		return redisio.ErrNotOpen
	case readerClosed:
		return redisio.ErrClosed
	}
	if r.ended {
		return io.EOF
	}
	if err := fault.Ended(ctx); err != nil {
		return err
	}
	err := r.page(ctx, min(count, r.cfg.MaxCount), maxBytes, b)
	if err != nil {
		if gone := fault.Ended(ctx); gone != nil {
			return gone
		}
		var first bool
		if err, first = r.reads.Refusal(err); first && r.cfg.OnEvent != nil {
			r.cfg.OnEvent(redisio.Refused(r.cfg.Key, err))
		}
		if fault.Judge(err) == fault.Permanent {
			return &redisio.PermanentError{Op: "read", Key: r.cfg.Key, Err: err}
		}
		return fmt.Errorf("redisio: read %q from %v: %w", fault.KeyName(r.cfg.Key), r.next, err)
	}
	r.reads.Worked()
	if len(b.Entries) == 0 {
		r.ended = true
		return io.EOF
	}
	r.asking.Learn(b)
	last, err := redisio.ParseID(b.Entries[len(b.Entries)-1].ID)
	if err != nil {
		return err
	}
	r.next = last.Next()
	r.ended = last.Compare(r.cfg.To) >= 0
	return nil
}

// page fills b with the next entries.
func (r *Range) page(ctx context.Context, most int, maxBytes int64, b *redisio.Batch) (err error) {
	r.full, err = r.asking.Page(ctx, r.rdb, most, maxBytes, b, r.cfg.OnEvent, "xrange", r.cfg.Key, r.next, r.cfg.To)
	return err
}

// More reports whether the last Read returned as many entries as it asked for, so that more may
// follow.
func (r *Range) More() bool { return r.full && !r.ended }

// Close ends the reader. The client is the caller's and stays open.
func (r *Range) Close(context.Context) error {
	r.state.Store(readerClosed)
	return nil
}
