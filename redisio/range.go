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
	return errors.Join(errs...)
}

// RangeReader reads a piece of a stream, page by page. Reading changes nothing on the server.
type RangeReader struct {
	cfg    RangeConfig
	rdb    redis.UniversalClient
	next   ID
	ended  bool
	asking asking
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
	return &RangeReader{cfg: cfg, rdb: rdb, next: cfg.From}, nil
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
	count = min(count, r.cfg.MaxCount)
	count = r.asking.count(count, maxBytes)
	err := rawEntries(ctx, r.rdb, b, "xrange", r.cfg.Key, r.next.String(), r.cfg.To.String(), "count", count)
	if err != nil {
		if gone := ended(ctx); gone != nil {
			return gone
		}
		if judge(err) == permanent {
			return &PermanentError{"read", r.cfg.Key, err}
		}
		return fmt.Errorf("redisio: read %q from %v: %w", keyName(r.cfg.Key), r.next, err)
	}
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

// Close ends the reader. The client is the caller's and stays open.
func (r *RangeReader) Close(context.Context) error {
	r.state.Store(readerClosed)
	return nil
}

// rawEntries fills b with the reply of a command that reads entries, by the caller's client.
func rawEntries(ctx context.Context, rdb redis.UniversalClient, b *Batch, args ...any) error {
	cluster, _ := rdb.(*redis.ClusterClient)
	for n := 1; ; n++ {
		cmd := redis.NewRawCmd(ctx, args...)
		err := rdb.Process(ctx, cmd)
		if err == nil {
			if err = parseEntries(cmd.Val(), 0, b); err != nil {
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
