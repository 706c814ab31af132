package redisio

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// TailConfig configures a TailReader. Key is required.
type TailConfig struct {
	Key      string
	Start    Start         // default: the beginning
	Block    time.Duration // default 1 s, at most 2 s; a server that ignores it is asked ten times a second
	MaxCount int           // cap of one reply; default 1000
	Wait     time.Duration // how long Open keeps trying while Redis is not reachable; default one try
	OnEvent  func(Event)   // EventReconnecting, EventReconnected, EventStreamRecreated, EventAskingLess
}

// Validate reports all mistakes at once, each as a *ConfigError.
func (c TailConfig) Validate() error {
	var errs []error
	bad := func(field, problem, fix string) {
		errs = append(errs, &ConfigError{"TailConfig", field, problem, fix})
	}
	if c.Key == "" {
		bad("Key", "is empty", "name the stream to read")
	}
	if c.Block < 0 || c.Block > 2*time.Second || c.Block > 0 && c.Block < time.Millisecond {
		bad("Block", fmt.Sprintf("is %v", c.Block), "choose 1ms to 2s: a blocked read can't be interrupted")
	}
	if c.MaxCount < 0 {
		bad("MaxCount", "is negative", "leave it 0 for 1000")
	}
	if c.Wait < 0 {
		bad("Wait", "is negative", "leave it 0 to fail at once")
	}
	return errors.Join(errs...)
}

// TailReader follows a stream without a group: it sees every entry behind its start, whoever else
// reads, and leaves no trace on the server. It remembers its position over reconnects, not over
// restarts: keep Position for that. A stream that was deleted and made again with smaller IDs is
// followed from its beginning (see EventStreamRecreated).
type TailReader struct {
	cfg     TailConfig
	rdb     redis.UniversalClient
	wire    *wire  // the blocking connection
	reading client // what else, and everything where there is no wire
	state   atomic.Int32
	token   chan struct{}
	stop    chan struct{}

	// of whoever has the token:
	last      ID
	asking    asking
	idling    idling
	reads     Patience
	fails     int
	notBefore time.Time
	idle      int  // rounds without entries
	doubt     bool // the stream may be another one since
	unsaid    int  // answers to that question that did not come

	health health
}

// NewTailReader checks the configuration. It does no I/O: that begins with Open.
func NewTailReader(rdb redis.UniversalClient, cfg TailConfig) (*TailReader, error) {
	if err := errors.Join(needClient(rdb, "NewTailReader"), cfg.Validate()); err != nil {
		return nil, err
	}
	def(&cfg.Block, time.Second)
	def(&cfg.MaxCount, 1000)
	return &TailReader{
		cfg:   cfg,
		rdb:   rdb,
		last:  cfg.Start.id,
		token: make(chan struct{}, 1),
		stop:  make(chan struct{}),
	}, nil
}

// Open connects, and settles where "the end" is: what is written after Open returned is seen.
func (r *TailReader) Open(ctx context.Context) error {
	if !r.state.CompareAndSwap(readerNew, readerOpen) {
		if r.state.Load() == readerClosed {
			return ErrClosed
		}
		return fmt.Errorf("redisio: open tail of %q: it is open already", keyName(r.cfg.Key))
	}
	r.reading = derive(r.rdb, purpose{conns: 1, readTimeout: r.cfg.Block + replyMargin})
	if r.wire = newWire(r.reading, r.cfg.Key, r.cfg.Block); r.wire != nil {
		r.wire.hasty = true
	}
	err := waitFor(ctx, r.cfg.Wait, func() error { return r.locate(ctx) })
	if err != nil {
		closeErr := r.reading.close()
		r.state.Store(readerNew)
		if judge(err) == permanent {
			return errors.Join(&PermanentError{"open tail of", r.cfg.Key, err}, closeErr)
		}
		return errors.Join(fmt.Errorf("redisio: open tail of %q: %w", keyName(r.cfg.Key), err), closeErr)
	}
	r.reads.Worked()
	r.health.kept(nil)
	r.token <- struct{}{}
	return nil
}

func (r *TailReader) locate(ctx context.Context) error {
	last, err := r.reading.XRevRangeN(ctx, r.cfg.Key, "+", "-", 1).Result()
	if err != nil || !r.cfg.Start.end || len(last) == 0 {
		return err
	}
	r.last, err = ParseID(last[0].ID)
	return err
}

// Position returns the ID of the last entry read; StartID of it goes on behind it. Not while Read runs.
func (r *TailReader) Position() ID { return r.last }

// Read fills b with 1 to count entries and blocks until there is one, as [GroupReader.Read] does.
func (r *TailReader) Read(ctx context.Context, count int, maxBytes int64, b *Batch) error {
	b.reset()
	if count < 1 {
		return fmt.Errorf("redisio: read %d entries of %q: ask for at least one", count, keyName(r.cfg.Key))
	}
	if r.state.Load() == readerNew {
		return ErrNotOpen
	}
	select {
	case <-r.token:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.stop:
		return ErrClosed
	}
	defer func() { r.token <- struct{}{} }()
	r.health.begin()
	defer r.health.end()
	count = min(count, r.cfg.MaxCount)
	for {
		if !sleep(ctx, r.stop, time.Until(r.notBefore)) || r.state.Load() == readerClosed {
			if err := ended(ctx); err != nil {
				return err
			}
			return ErrClosed
		}
		n := r.asking.count(count, maxBytes)
		err := r.fill(ctx, n, limitFor(n, maxBytes), b)
		if r.asking.failed(n, err) {
			r.fails = min(r.fails, 1) // it is another question
			r.emit(Event{Kind: EventAskingLess, Count: r.asking.few, Err: err})
		}
		if err == nil || ctx.Err() == nil {
			r.health.tell(err)
		}
		if err == nil {
			r.asking.learn(b)
			r.reads.Worked()
			if r.fails > 0 {
				r.fails, r.notBefore = 0, time.Time{}
				r.emit(Event{Kind: EventReconnected})
			}
			if len(b.Entries) > 0 {
				return nil
			}
			continue
		}
		if gone := ended(ctx); gone != nil {
			return gone
		}
		r.doubt = true
		err, first := r.reads.look(err)
		if first {
			r.emit(refused(r.cfg.Key, err))
		}
		v := judge(err)
		if v == lostGroup { // UNBLOCKED: the stream was deleted; a new one may come
			v = later
		}
		r.fails++
		wait := backoff(r.fails)
		r.notBefore = time.Now().Add(wait)
		if v == permanent {
			return &PermanentError{"read", r.cfg.Key, err}
		}
		if v == moved || v == later {
			r.wire.dropIf()
		}
		if v == moved && r.reading.redirected() && r.fails < 3 {
			r.notBefore = time.Time{}
		}
		if r.fails == 1 || r.fails%8 == 0 {
			r.emit(Event{Kind: EventReconnecting, Err: err, Wait: wait})
		}
	}
}

func (r *TailReader) fill(ctx context.Context, count, most int, b *Batch) error {
	sent := time.Now()
	raw, cut := rawReply(ctx, r.wire, r.reading, 6, limit{most, true}, []any{"xread", "count", count,
		"block", r.cfg.Block.Milliseconds(), "streams", r.cfg.Key, r.last.String()})
	if cut != nil && cut != errFront {
		return cut
	}
	if err := parsedFront(b, 0, cut, parseStreams(raw, 0, b)); err != nil && err != errFront {
		b.reset() // nothing is lost: the position did not move
		return err
	}
	if n := len(b.Entries); n > 0 {
		r.idling = idling{}
		id, err := ParseID(b.Entries[n-1].ID)
		if err != nil {
			return err
		}
		r.last, r.idle = id, 0
		return nil
	}
	sleep(ctx, r.stop, r.idling.pause(r.cfg.Block, time.Since(sent)))
	if r.idle++; r.doubt || r.idle%idleRounds == 0 {
		return r.compare(ctx)
	}
	return nil
}

// idleRounds is after how many reads without entries a tail looks whether the stream is still the one it knows.
const idleRounds = 4

// compare notices a stream that ends before our position: it is another one, whose entries would never reach us.
func (r *TailReader) compare(ctx context.Context) error {
	if r.last.IsZero() || r.last.Seq == math.MaxUint64 { // the latter is no entry's: a time to start at
		return nil
	}
	info, err := r.reading.XInfoStream(ctx, r.cfg.Key).Result()
	if v := judge(err); v == lostGroup || v == permanent { // nothing there yet, or no right to ask
		return nil
	}
	if isCut(err) {
		if r.unsaid++; r.unsaid >= cutsTo { // the answer has two entries, and may be too large to be sent
			r.unsaid, r.doubt = 0, false
			return nil
		}
	}
	if err != nil {
		return err
	}
	r.unsaid, r.doubt = 0, false
	top, err := ParseID(info.LastGeneratedID)
	if err == nil && top.Compare(r.last) < 0 {
		r.last = ID{}
		r.emit(Event{Kind: EventStreamRecreated, Position: r.last.String()})
	}
	return nil
}

func (r *TailReader) emit(e Event) {
	if r.cfg.OnEvent != nil {
		e.Key = r.cfg.Key
		notify("TailConfig.OnEvent", func() { r.cfg.OnEvent(e) })
	}
}

// Close waits for a Read under way, which takes Block at the most, and closes the reader's own
// connection. A second Close does nothing.
func (r *TailReader) Close(ctx context.Context) error {
	if r.state.Swap(readerClosed) != readerOpen {
		return nil
	}
	close(r.stop)
	defer r.wire.close()
	select {
	case <-r.token:
	case <-ctx.Done():
		return errors.Join(
			fmt.Errorf(
				"redisio: close tail of %q while a read is under way: %w",
				keyName(r.cfg.Key),
				context.Cause(ctx),
			),
			r.reading.close(),
		)
	}
	return r.reading.close()
}
