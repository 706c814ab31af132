package reader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
)

// TailConfig configures a Tail. Key is required. The zero value of each other field is its default.
type TailConfig struct {
	Key string // the stream

	// Start is the position where reading begins. Defaults to the beginning of the stream.
	Start redisio.Start

	// Block is how long one read waits on the server. Defaults to 1 s, at most 2 s. An idle Tail
	// asks a server that ignores BLOCK ten times a second.
	Block time.Duration

	// MaxCount is the maximum number of entries in one reply. Defaults to 1000.
	MaxCount int

	// Wait is how long Open retries while Redis is unreachable. Defaults to 0: one try.
	Wait time.Duration

	// OnEvent receives EventReconnecting, EventReconnected, EventStreamRecreated, EventAskingLess
	// and EventRefused. It must not block.
	OnEvent func(redisio.Event)
}

// Validate returns all mistakes at once, each as a *ConfigError.
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
	loop
	cfg     TailConfig
	rdb     redis.UniversalClient
	wire    *conn.Wire  // the blocking connection
	reading conn.Client // other commands, and all if wire is nil

	// Owned by the holder of token.
	last    redisio.ID
	idle    int  // consecutive rounds without entries
	doubt   bool // the stream may be another one since
	unasked int  // consecutive XINFO with a cut reply
}

// NewTail checks the configuration. It does no I/O before Open.
func NewTail(rdb redis.UniversalClient, cfg TailConfig) (*Tail, error) {
	if err := errors.Join(check.NeedClient(rdb, "reader.NewTail"), cfg.Validate()); err != nil {
		return nil, err
	}
	cfg.Block = cmp.Or(cfg.Block, time.Second)
	cfg.MaxCount = cmp.Or(cfg.MaxCount, 1000)
	r := &Tail{cfg: cfg, rdb: rdb, last: cfg.Start.ID()}
	r.init(fmt.Sprintf("tail of %q", fault.KeyName(cfg.Key)), cfg.Key, r.emit)
	return r, nil
}

// Open connects and determines the end of the stream. Entries written after Open returned are read.
func (r *Tail) Open(ctx context.Context) error {
	if err := r.opening(); err != nil {
		return err
	}
	r.reading = conn.Derive(r.rdb, conn.Purpose{Conns: 1, ReadTimeout: r.cfg.Block + conn.ReplyMargin})
	if r.wire = conn.NewWire(r.reading, r.cfg.Key, r.cfg.Block); r.wire != nil {
		r.wire.Hasty = true
	}
	if err := fault.WaitFor(ctx, r.cfg.Wait, func() error { return r.locate(ctx) }); err != nil {
		return r.notOpened("open tail of", err, r.reading.Release())
	}
	r.opened()
	return nil
}

// locate determines the position if reading starts at the end.
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
	return r.read(ctx, count, maxBytes, b, false)
}

// Poll is Read, except that it returns without entries and without an error if none arrive within
// Block, and after a reconnect.
func (r *Tail) Poll(ctx context.Context, count int, maxBytes int64, b *redisio.Batch) error {
	return r.read(ctx, count, maxBytes, b, true)
}

func (r *Tail) read(ctx context.Context, count int, maxBytes int64, b *redisio.Batch, once bool) error {
	b.Reset()
	if count < 1 {
		return fmt.Errorf("redisio: read %d entries of %q: ask for at least one", count, fault.KeyName(r.cfg.Key))
	}
	return r.run(ctx, r, min(count, r.cfg.MaxCount), maxBytes, b, once)
}

func (r *Tail) round(ctx context.Context, count int, maxBytes int64, b *redisio.Batch) error {
	return r.fill(ctx, count, conn.LimitFor(count, maxBytes), b)
}

func (r *Tail) failed(ctx context.Context, err error) error {
	if gone := fault.Ended(ctx); gone != nil {
		return gone
	}
	r.doubt = true
	if fault.Judge(err) == fault.LostGroup { // UNBLOCKED: the stream was deleted; a new one may come
		r.wire.DropIf()
	}
	err = r.retry(err, r.wire, &r.reading)
	r.away = true // EventReconnected follows a permanent error too
	return err
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
	fault.Sleep(ctx, r.stop, r.idling.pause(r.cfg.Block, time.Since(sent)))
	if r.idle++; r.doubt || r.idle%idleRounds == 0 {
		return r.compare(ctx)
	}
	return nil
}

// idleRounds is the number of reads without entries after which a Tail checks that the stream is
// still the same.
const idleRounds = 4

// compare detects a stream that ends before the position. It is another one, and its entries would
// never be read.
func (r *Tail) compare(ctx context.Context) error {
	if r.last.IsZero() || r.last.Seq == math.MaxUint64 { // no entry has this Seq: it is a time to start at
		return nil
	}
	info, err := r.reading.XInfoStream(ctx, r.cfg.Key).Result()
	if v := fault.Judge(err); v == fault.LostGroup || v == fault.Permanent { // no stream yet, or no right to ask
		return nil
	}
	if fault.IsCut(err) {
		if r.unasked++; r.unasked >= conn.CutsTo { // the reply has two entries and may be too large
			r.unasked, r.doubt = 0, false
			return nil
		}
	}
	if err != nil {
		return err
	}
	r.unasked, r.doubt = 0, false
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
	return errors.Join(r.lastEnter(ctx), r.reading.Release())
}
