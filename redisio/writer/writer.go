package writer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/probe"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// Writer appends entries. It is safe for concurrent use; concurrent Writes are in flight together.
type Writer struct {
	sender
	trimmer
	plain bool // XADD is all that the configuration needs
	idmp  bool // the server drops duplicates itself

	answers redisio.Patience
	state   atomic.Int32
	users   sync.WaitGroup // Writes in progress
	gate    sync.Mutex     // orders users.Add against Close; held for two lines
	chunks  sync.Pool
}

const (
	writerNew = iota
	writerOpen
	writerClosed
)

// New checks the configuration. It does no I/O: that begins with Open.
func New(rdb redis.UniversalClient, cfg Config) (*Writer, error) {
	if err := errors.Join(check.NeedClient(rdb, "writer.New"), cfg.Validate()); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	w := &Writer{sender: sender{cfg: &cfg, rdb: rdb, most: strconv.FormatInt(cfg.MaxLen, 10)}, plain: cfg.plain()}
	w.trimmer.sender = &w.sender
	w.head, w.heads = w.headOf()
	w.chunks.New = func() any { return new(chunk) }
	return w, nil
}

// Config returns the configuration with its defaults.
func (w *Writer) Config() Config { return *w.cfg }

// Open connects, and checks that the key can be written to. A key of another type, and a user
// without the right to XADD, give a *PermanentError.
func (w *Writer) Open(ctx context.Context) error {
	if !w.state.CompareAndSwap(writerNew, writerOpen) {
		if w.state.Load() == writerClosed {
			return redisio.ErrClosed
		}
		return fmt.Errorf("redisio: open writer of %q: it is open already", fault.KeyName(w.cfg.Key))
	}
	w.out = w.derived()
	err := fault.WaitFor(ctx, w.cfg.Wait, func() error { return w.meet(ctx) })
	if err == nil {
		w.answers.Worked()
		return nil
	}
	w.lines.Close()
	closeErr := w.out.Release()
	w.state.Store(writerNew)
	var known *redisio.PermanentError
	if fault.Judge(err) == fault.Permanent && !errors.As(err, &known) {
		return errors.Join(&redisio.PermanentError{Op: "open writer of", Key: w.cfg.Key, Err: err}, closeErr)
	}
	return errors.Join(fmt.Errorf("redisio: open writer of %q: %w", fault.KeyName(w.cfg.Key), err), closeErr)
}

func (w *Writer) derived() conn.Client {
	return conn.Derive(
		w.rdb,
		conn.Purpose{Conns: max(16, 2*w.cfg.Pipelines), ReadTimeout: w.cfg.Durability.readTimeout(w.rdb)},
	)
}

// meet finds out whether the server is there, and what it can do of what the configuration needs.
func (w *Writer) meet(ctx context.Context) (err error) {
	if w.cfg.Key == "" {
		err = w.out.Ping(ctx).Err()
	} else if err = w.out.XLen(ctx, w.cfg.Key).Err(); err == nil {
		err = script.MayWrite(ctx, w.out, w.cfg.Key)
	}
	if _, own := w.out.Single(); err == nil && w.cfg.Together && own {
		var transacts bool
		transacts, err = probe.Transacts(ctx, w.out)
		w.apart.Store(!transacts)
	}
	if err == nil && !w.plain {
		err = w.meetFeatures(ctx)
	}
	if err != nil {
		return err
	}
	return w.openLines(ctx)
}

// meetFeatures finds out which features the server has, see the fields that it sets.
func (w *Writer) meetFeatures(ctx context.Context) (err error) {
	c := w.cfg
	if err := c.Durability.meet(ctx, w.out, c.Key); err != nil {
		return err
	}
	if c.mayIDMP() {
		if w.idmp, err = probe.IDMP(ctx, w.out, c.Key); err != nil {
			return err
		}
	}
	if !c.DropUnread && (c.trims() || c.HardCap > 0 && c.WhenFull != FullDrop) {
		w.acked, err = probe.TrimsAcked(ctx, w.out, c.Key)
	}
	return err
}

// openLines connects the writer's own connections, and closes those that met the server: one of them
// may be in a transaction that cannot end.
func (w *Writer) openLines(ctx context.Context) error {
	w.lines.Close() // of an earlier try
	met := w.out
	if _, is := met.Single(); !is {
		return nil
	}
	w.out = w.derived()
	w.lines = conn.NewLines(w.out)
	return errors.Join(w.lines.Open(ctx), met.Release())
}

// Close waits for Writes in progress and closes the writer's own connections. A second Close does
// nothing.
func (w *Writer) Close(ctx context.Context) error {
	w.gate.Lock()
	was := w.state.Swap(writerClosed)
	w.gate.Unlock()
	if was != writerOpen {
		return nil
	}
	idle := make(chan struct{})
	go func() { // ends with the last Write, which the timeouts of its connection bound
		w.users.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		w.lines.Close()
		_ = w.out.Release() // the Writes under way fail now
		<-idle
		return fmt.Errorf(
			"redisio: close writer of %q with writes under way: %w",
			fault.KeyName(w.cfg.Key),
			context.Cause(ctx),
		)
	}
	w.lines.Close()
	return w.out.Release()
}

func (w *Writer) enter() error {
	w.gate.Lock()
	defer w.gate.Unlock()
	switch w.state.Load() {
	case writerNew:
		return redisio.ErrNotOpen
	case writerClosed:
		return redisio.ErrClosed
	}
	w.users.Add(1)
	return nil
}

// Write appends entries and sets the result of each. results must have the same length. A bad
// entry never affects its neighbours. Nothing is sent twice: neither after an error nor after a
// lost reply. ErrBackpressure means to retry later, because the server or the stream is full. The
// returned error is the summary: nil if all entries were written, ErrUnknownOutcome if one entry
// has it, else ErrNotWritten.
//
// The end of ctx does not interrupt a write that was sent. Its deadline does, and leaves the
// outcome unknown.
func (w *Writer) Write(ctx context.Context, entries []redisio.Outgoing, results []redisio.Result) error {
	if len(results) < len(entries) {
		return fmt.Errorf(
			"redisio: write %d entries with room for %d results: make it as many",
			len(entries),
			len(results),
		)
	}
	if len(entries) == 0 {
		return nil
	}
	if err := w.enter(); err != nil {
		fail(results[:len(entries)], redisio.ErrNotWritten, err)
		return &fault.OutcomeError{Outcome: redisio.ErrNotWritten, Cause: err}
	}
	defer w.users.Done()
	if w.goesAhead(entries) {
		w.sendAhead(ctx, entries, results)
		return w.summary(results[:len(entries)])
	}
	depth := w.cfg.Depth
	if len(entries) <= depth || w.cfg.Pipelines == 1 {
		for n := 0; n < len(entries); n += depth {
			end := min(n+depth, len(entries))
			w.send(ctx, entries[n:end], results[n:end])
		}
		return w.summary(results[:len(entries)])
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(w.cfg.Pipelines, (len(entries)+depth-1)/depth) {
		wg.Go(func() {
			for {
				n := int(next.Add(int64(depth))) - depth
				if n >= len(entries) {
					return
				}
				end := min(n+depth, len(entries))
				w.send(ctx, entries[n:end], results[n:end])
			}
		})
	}
	wg.Wait()
	return w.summary(results[:len(entries)])
}

func fail(results []redisio.Result, outcome, cause error) {
	if len(results) == 0 {
		return
	}
	err := &fault.OutcomeError{Outcome: outcome, Cause: cause}
	for i := range results {
		results[i] = redisio.Result{Err: err}
	}
}

func (w *Writer) summary(results []redisio.Result) error {
	failed, unknown, written := 0, false, false
	var first error
	for i := range results {
		if results[i].Err == nil {
			written = true
			continue
		}
		err, news := w.answers.Refusal(results[i].Err)
		if results[i].Err = err; news {
			w.cfg.emit(redisio.Refused(w.cfg.Key, err))
		}
		failed++
		if isUnknown := errors.Is(err, redisio.ErrUnknownOutcome); first == nil || isUnknown && !unknown {
			first, unknown = err, isUnknown
		}
	}
	if written {
		w.answers.Worked()
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf(
		"redisio: write %d of %s to %q: %w",
		failed,
		fault.Plural(len(results), "entry", "entries"),
		fault.KeyName(w.cfg.Key),
		first,
	)
}
