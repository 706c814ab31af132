package reader

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/demand"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
)

// TailConfig configures a Tail. Key is required.
type TailConfig struct {
	Key      string
	Start    redisio.Start       // default: the beginning
	Block    time.Duration       // default 1 s, at most 2 s; a server that ignores it is asked ten times a second
	MaxCount int                 // cap of one reply; default 1000
	Wait     time.Duration       // how long Open keeps trying while Redis is not reachable; default one try
	OnEvent  func(redisio.Event) // EventReconnecting, EventReconnected, EventStreamRecreated, EventAskingLess
}

// Validate reports all mistakes at once, each as a *ConfigError.
func (c TailConfig) Validate() error {
	m := redisio.MistakesOf("TailConfig")
	m.Empty("Key", c.Key, "name the stream to read")
	validateReads(m, c.Block, c.MaxCount)
	m.Negative("Wait", int64(c.Wait), "leave it 0 to fail at once")
	return m.Err()
}

// Tail follows a stream without a group. It returns every entry after its start, independent of
// other readers, and changes nothing on the server. It keeps its position across reconnects. Store
// Position to keep it across restarts. A stream that was deleted and recreated with smaller IDs is
// read from its beginning, see EventStreamRecreated.
type Tail struct {
	cfg     TailConfig
	rdb     redis.UniversalClient
	wire    *conn.Wire  // the blocking connection
	reading conn.Client // other commands, and all if wire is nil
	state   atomic.Int32
	token   chan struct{}
	stop    chan struct{}

	// Owned by the holder of token.
	last      redisio.ID
	asking    demand.Asking
	idling    idling
	reads     redisio.Patience
	fails     int
	notBefore time.Time
	idle      int  // rounds without entries
	doubt     bool // the stream may be another one since
	unsaid    int  // answers to that question that did not come

	health health
}

// NewTail checks the configuration. It does no I/O: that begins with Open.
func NewTail(rdb redis.UniversalClient, cfg TailConfig) (*Tail, error) {
	if err := errors.Join(check.NeedClient(rdb, "reader.NewTail"), cfg.Validate()); err != nil {
		return nil, err
	}
	check.Def(&cfg.Block, time.Second)
	check.Def(&cfg.MaxCount, 1000)
	return &Tail{
		cfg:   cfg,
		rdb:   rdb,
		last:  cfg.Start.ID(),
		token: make(chan struct{}, 1),
		stop:  make(chan struct{}),
	}, nil
}

// Open connects and determines the end of the stream. Entries written after Open returned are read.
func (r *Tail) Open(ctx context.Context) error {
	if !r.state.CompareAndSwap(readerNew, readerOpen) {
		if r.state.Load() == readerClosed {
			return redisio.ErrClosed
		}
		return fmt.Errorf("redisio: open tail of %q: it is open already", fault.KeyName(r.cfg.Key))
	}
	r.reading = conn.Derive(r.rdb, conn.Purpose{Conns: 1, ReadTimeout: r.cfg.Block + conn.ReplyMargin})
	if r.wire = conn.NewWire(r.reading, r.cfg.Key, r.cfg.Block); r.wire != nil {
		r.wire.Hasty = true
	}
	err := fault.WaitFor(ctx, r.cfg.Wait, func() error { return r.locate(ctx) })
	if err != nil {
		closeErr := r.reading.Release()
		r.state.Store(readerNew)
		if fault.Judge(err) == fault.Permanent {
			return errors.Join(&redisio.PermanentError{Op: "open tail of", Key: r.cfg.Key, Err: err}, closeErr)
		}
		return errors.Join(fmt.Errorf("redisio: open tail of %q: %w", fault.KeyName(r.cfg.Key), err), closeErr)
	}
	r.reads.Worked()
	r.health.kept(nil)
	r.token <- struct{}{}
	return nil
}

func (r *Tail) locate(ctx context.Context) error {
	last, err := r.reading.XRevRangeN(ctx, r.cfg.Key, "+", "-", 1).Result()
	if err != nil || !r.cfg.Start.AtEnd() || len(last) == 0 {
		return err
	}
	r.last, err = redisio.ParseID(last[0].ID)
	return err
}

// Position returns the ID of the last entry read. Continue after it with StartID. Do not call it
// while Read runs.
func (r *Tail) Position() redisio.ID { return r.last }

// Read fills b with 1 to count entries and blocks until there is one, as [Group.Read] does.
func (r *Tail) Read(ctx context.Context, count int, maxBytes int64, b *redisio.Batch) error {
	b.Reset()
	if count < 1 {
		return fmt.Errorf("redisio: read %d entries of %q: ask for at least one", count, fault.KeyName(r.cfg.Key))
	}
	if r.state.Load() == readerNew {
		return redisio.ErrNotOpen
	}
	select {
	case <-r.token:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.stop:
		return redisio.ErrClosed
	}
	defer func() { r.token <- struct{}{} }()
	r.health.begin()
	defer r.health.end()
	count = min(count, r.cfg.MaxCount)
	for {
		if !fault.Sleep(ctx, r.stop, time.Until(r.notBefore)) || r.state.Load() == readerClosed {
			if err := fault.Ended(ctx); err != nil {
				return err
			}
			return redisio.ErrClosed
		}
		n := r.asking.Count(count, maxBytes)
		err := r.fill(ctx, n, conn.LimitFor(n, maxBytes), b)
		if r.asking.Failed(n, err) {
			r.fails = min(r.fails, 1) // it is another question
			r.emit(redisio.Event{Kind: redisio.EventAskingLess, Count: r.asking.Few, Err: err})
		}
		if err == nil || ctx.Err() == nil {
			r.health.tell(err)
		}
		if err == nil {
			r.asking.Learn(b)
			r.reads.Worked()
			if r.fails > 0 {
				r.fails, r.notBefore = 0, time.Time{}
				r.emit(redisio.Event{Kind: redisio.EventReconnected})
			}
			if len(b.Entries) > 0 {
				return nil
			}
			continue
		}
		if gone := fault.Ended(ctx); gone != nil {
			return gone
		}
		r.doubt = true
		err, first := r.reads.Refusal(err)
		if first {
			r.emit(redisio.Refused(r.cfg.Key, err))
		}
		v := fault.Judge(err)
		if v == fault.LostGroup { // UNBLOCKED: the stream was deleted; a new one may come
			v = fault.Later
		}
		r.fails++
		wait := fault.Backoff(r.fails)
		r.notBefore = time.Now().Add(wait)
		if v == fault.Permanent {
			return &redisio.PermanentError{Op: "read", Key: r.cfg.Key, Err: err}
		}
		if v == fault.Moved || v == fault.Later {
			r.wire.DropIf()
		}
		if v == fault.Moved && r.reading.Redirected() && r.fails < 3 {
			r.notBefore = time.Time{}
		}
		if r.fails == 1 || r.fails%8 == 0 {
			r.emit(redisio.Event{Kind: redisio.EventReconnecting, Err: err, Wait: wait})
		}
	}
}

func (r *Tail) fill(ctx context.Context, count, most int, b *redisio.Batch) error {
	sent := time.Now()
	raw, cut := conn.RawReply(
		ctx,
		r.wire,
		r.reading,
		6,
		conn.Limit{Bytes: most, Streams: true},
		[]any{"xread", "count", count,
			"block", r.cfg.Block.Milliseconds(), "streams", r.cfg.Key, r.last.String()},
	)
	if cut != nil && cut != resp.ErrFront {
		return cut
	}
	if err := resp.ParsedFront(b, 0, cut, resp.ParseStreams(raw, 0, b)); err != nil && err != resp.ErrFront {
		b.Reset() // nothing is lost: the position did not move
		return err
	}
	if n := len(b.Entries); n > 0 {
		r.idling = idling{}
		id, err := redisio.ParseID(b.Entries[n-1].ID)
		if err != nil {
			return err
		}
		r.last, r.idle = id, 0
		return nil
	}
	fault.Sleep(ctx, r.stop, r.idling.Pause(r.cfg.Block, time.Since(sent)))
	if r.idle++; r.doubt || r.idle%idleRounds == 0 {
		return r.compare(ctx)
	}
	return nil
}

// idleRounds is after how many reads without entries a tail looks whether the stream is still the one it knows.
const idleRounds = 4

// compare notices a stream that ends before our position: it is another one, whose entries would never reach us.
func (r *Tail) compare(ctx context.Context) error {
	if r.last.IsZero() || r.last.Seq == math.MaxUint64 { // the latter is no entry's: a time to start at
		return nil
	}
	info, err := r.reading.XInfoStream(ctx, r.cfg.Key).Result()
	if v := fault.Judge(err); v == fault.LostGroup || v == fault.Permanent { // nothing there yet, or no right to ask
		return nil
	}
	if fault.IsCut(err) {
		if r.unsaid++; r.unsaid >= demand.CutsTo { // the answer has two entries, and may be too large to be sent
			r.unsaid, r.doubt = 0, false
			return nil
		}
	}
	if err != nil {
		return err
	}
	r.unsaid, r.doubt = 0, false
	top, err := redisio.ParseID(info.LastGeneratedID)
	if err == nil && top.Compare(r.last) < 0 {
		r.last = redisio.ID{}
		r.emit(redisio.Event{Kind: redisio.EventStreamRecreated, Position: r.last.String()})
	}
	return nil
}

func (r *Tail) emit(e redisio.Event) {
	if r.cfg.OnEvent != nil {
		e.Key = r.cfg.Key
		fault.Notify("TailConfig.OnEvent", func() { r.cfg.OnEvent(e) })
	}
}

// Close waits for a running Read, at most for Block, and closes the reader's own connection. A
// second Close does nothing.
func (r *Tail) Close(ctx context.Context) error {
	if r.state.Swap(readerClosed) != readerOpen {
		return nil
	}
	close(r.stop)
	defer r.wire.Close()
	select {
	case <-r.token:
	case <-ctx.Done():
		return errors.Join(
			fmt.Errorf(
				"redisio: close tail of %q while a read is under way: %w",
				fault.KeyName(r.cfg.Key),
				context.Cause(ctx),
			),
			r.reading.Release(),
		)
	}
	return r.reading.Release()
}
