package redisio

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// WriterConfig configures a Writer. The zero value of every field but Key is the default.
type WriterConfig struct {
	Key string // the stream; may be empty if every entry names its own

	// Retention, of at most one kind: MaxLen entries, or entries from MinID on, or entries younger than
	// MaxAge. It drops what no group has read yet as well; see Trim for a way that doesn't.
	MaxLen int64
	MinID  string
	MaxAge time.Duration
	Exact  bool // trim exactly: costs the server more than the default, which frees whole nodes

	// MaxPayload bounds the bytes of all names and values of an entry. Default 1 MiB.
	MaxPayload int
	// Depth is how many entries one pipeline carries. Default 128.
	Depth int
	// Pipelines is how many pipelines one Write may have in flight. Default 1: the order of the entries
	// is the order in the stream. With more, entries of different pipelines may change places.
	Pipelines int
	// Wait is how long Open keeps trying while Redis is not reachable. Default 0: one try.
	Wait time.Duration
}

func (c WriterConfig) withDefaults() WriterConfig {
	def(&c.MaxPayload, 1<<20)
	def(&c.Depth, 128)
	def(&c.Pipelines, 1)
	return c
}

// Validate reports all mistakes at once, each as a *ConfigError. It needs no server.
func (c WriterConfig) Validate() error {
	var errs []error
	bad := func(field, problem, fix string) {
		errs = append(errs, &ConfigError{"WriterConfig", field, problem, fix})
	}
	if c.MaxLen < 0 {
		bad("MaxLen", "is negative", "leave it 0 to keep all entries")
	}
	if c.MaxAge < 0 {
		bad("MaxAge", "is negative", "leave it 0 to keep all entries")
	}
	if c.MinID != "" {
		if _, err := ParseID(c.MinID); err != nil {
			bad("MinID", fmt.Sprintf("is %q", c.MinID), `write it as "1732360000000-0"`)
		}
	}
	kinds := 0
	for _, set := range []bool{c.MaxLen > 0, c.MinID != "", c.MaxAge > 0} {
		if set {
			kinds++
		}
	}
	if kinds > 1 {
		bad("MaxLen", "is set beside MinID or MaxAge", "choose one of the three: Redis trims one way at a time")
	}
	if c.Exact && kinds == 0 {
		bad("Exact", "is set without anything to trim by", "set MaxLen, MinID or MaxAge as well")
	}
	if c.MaxPayload < 0 || c.MaxPayload > 512<<20 {
		bad("MaxPayload", fmt.Sprintf("is %d", c.MaxPayload), "choose up to 512 MiB, what Redis takes at most")
	}
	if c.Depth < 0 || c.Depth > 10_000 {
		bad("Depth", fmt.Sprintf("is %d", c.Depth), "choose up to 10000; more than 512 gains nothing")
	}
	if c.Pipelines < 0 || c.Pipelines > 64 {
		bad("Pipelines", fmt.Sprintf("is %d", c.Pipelines), "choose up to 64; more than 4 gains little")
	}
	if c.Wait < 0 {
		bad("Wait", "is negative", "leave it 0 to fail at once")
	}
	return errors.Join(errs...)
}

// Outgoing is one entry to write.
type Outgoing struct {
	Key    string // "" is the writer's
	ID     string // "" is "*": the server chooses
	Fields Fields
}

// Result is what became of one entry: its ID, or an error that is ErrNotWritten or ErrUnknownOutcome.
type Result struct {
	ID  string
	Err error
}

// Writer appends entries. It is safe for concurrent use; concurrent Writes are in flight together.
type Writer struct {
	cfg    WriterConfig
	rdb    redis.UniversalClient // the caller's: never closed
	out    client
	key    any // boxed once
	maxLen any
	state  atomic.Int32
	users  sync.WaitGroup // Writes under way
	gate   sync.Mutex     // orders users.Add against Close; held for two lines
	chunks sync.Pool
}

// NewWriter checks the configuration. It does no I/O: that begins with Open.
func NewWriter(rdb redis.UniversalClient, cfg WriterConfig) (*Writer, error) {
	if err := errors.Join(needClient(rdb, "NewWriter"), cfg.Validate()); err != nil {
		return nil, err
	}
	w := &Writer{cfg: cfg.withDefaults(), rdb: rdb}
	w.key, w.maxLen = w.cfg.Key, strconv.FormatInt(w.cfg.MaxLen, 10)
	w.chunks.New = func() any { return new(chunk) }
	return w, nil
}

// Config returns the configuration with its defaults.
func (w *Writer) Config() WriterConfig { return w.cfg }

// Open connects, and checks that the key can be written to: a key of another type is a *PermanentError.
func (w *Writer) Open(ctx context.Context) error {
	if !w.state.CompareAndSwap(readerNew, readerOpen) {
		if w.state.Load() == readerClosed {
			return ErrClosed
		}
		return fmt.Errorf("redisio: open writer of %q: it is open already", keyName(w.cfg.Key))
	}
	w.out = derive(w.rdb, purpose{conns: max(16, 2*w.cfg.Pipelines)})
	err := waitFor(ctx, w.cfg.Wait, func() error {
		if w.cfg.Key == "" {
			return w.out.Ping(ctx).Err()
		}
		return w.out.XLen(ctx, w.cfg.Key).Err()
	})
	if err == nil {
		return nil
	}
	closeErr := w.out.close()
	w.state.Store(readerNew)
	if judge(err) == permanent {
		return errors.Join(&PermanentError{"open writer of", w.cfg.Key, err}, closeErr)
	}
	return errors.Join(fmt.Errorf("redisio: open writer of %q: %w", keyName(w.cfg.Key), err), closeErr)
}

// Close waits for Writes under way and closes the writer's own connections. A second Close does nothing.
func (w *Writer) Close(ctx context.Context) error {
	w.gate.Lock()
	was := w.state.Swap(readerClosed)
	w.gate.Unlock()
	if was != readerOpen {
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
		_ = w.out.close() // the Writes under way fail now
		<-idle
		return fmt.Errorf("redisio: close writer of %q with writes under way: %w", keyName(w.cfg.Key), context.Cause(ctx))
	}
	return w.out.close()
}

func (w *Writer) enter() error {
	w.gate.Lock()
	defer w.gate.Unlock()
	switch w.state.Load() {
	case readerNew:
		return ErrNotOpen
	case readerClosed:
		return ErrClosed
	}
	w.users.Add(1)
	return nil
}

// Write appends entries and says in results, which must be as long, what became of each. A bad entry
// never fails its neighbours, and nothing is sent twice: not after an error, and not after a reply that was
// lost. The error returned sums up: it is nil if all was written, ErrUnknownOutcome if that holds for
// any entry, else ErrNotWritten.
//
// A write is not interrupted by ctx once it was sent, except by its deadline, which leaves the outcome unknown.
func (w *Writer) Write(ctx context.Context, entries []Outgoing, results []Result) error {
	if len(results) < len(entries) {
		return fmt.Errorf("redisio: write %d entries with room for %d results: make it as many", len(entries), len(results))
	}
	if len(entries) == 0 {
		return nil
	}
	if err := w.enter(); err != nil {
		fail(results[:len(entries)], ErrNotWritten, err)
		return &outcomeError{ErrNotWritten, err}
	}
	defer w.users.Done()
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

func fail(results []Result, outcome, cause error) {
	err := &outcomeError{outcome, cause}
	for i := range results {
		results[i] = Result{Err: err}
	}
}

func (w *Writer) summary(results []Result) error {
	failed, unknown := 0, false
	var first error
	for i := range results {
		if err := results[i].Err; err != nil {
			failed++
			if isUnknown := errors.Is(err, ErrUnknownOutcome); first == nil || isUnknown && !unknown {
				first, unknown = err, isUnknown
			}
		}
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("redisio: write %d of %d entries to %q: %w", failed, len(results), keyName(w.cfg.Key), first)
}

// send writes one pipeline.
func (w *Writer) send(ctx context.Context, entries []Outgoing, results []Result) {
	if err := ended(ctx); err != nil {
		fail(results, ErrNotWritten, err)
		return
	}
	c := w.chunks.Get().(*chunk)
	defer func() {
		c.clear()
		w.chunks.Put(c)
	}()
	w.fill(c, entries, results)
	if len(c.queue) == 0 {
		return
	}
	pipe := w.out.Pipeline()
	_ = pipe.BatchProcess(ctx, c.queue...) // only queues
	_, execErr := pipe.Exec(ctx)
	if execErr != nil {
		w.failures(c, results, execErr)
		return
	}
	for i, cmd := range c.sent {
		results[c.index[i]] = Result{ID: cmd.Val()}
	}
}

// failures looks at each command on its own.
func (w *Writer) failures(c *chunk, results []Result, execErr error) {
	unsent := neverSent(execErr)
	reload := false
	for i, cmd := range c.sent {
		id, err := cmd.Result()
		at := c.index[i]
		// A broken connection stamps its error on commands that were answered before it broke.
		if id != "" || err == nil {
			results[at] = Result{ID: id}
			continue
		}
		outcome := ErrUnknownOutcome
		if unsent || isServerSaid(err) || neverSent(err) {
			outcome = ErrNotWritten // the server said no, or never heard of it
		}
		reload = reload || judge(err) == moved
		results[at] = Result{Err: &outcomeError{outcome, err}}
	}
	if reload {
		w.out.redirected()
	}
}

// chunk is the scratch of one pipeline: commands are used again, for go-redis offers no other way to
// make one without allocating, and each keeps its argument slice.
type chunk struct {
	cmds  []*redis.StringCmd // all ever made
	queue []redis.Cmder      // those of this pipeline
	sent  []*redis.StringCmd // the same
	index []int              // which entry each carries
}

// fieldValue is a field as the argument that carries its value: a pointer in an interface does not
// allocate, a []byte would.
type fieldValue Field

// MarshalBinary returns the value as it is.
func (f *fieldValue) MarshalBinary() ([]byte, error) { return f.Value, nil }

func (w *Writer) fill(c *chunk, entries []Outgoing, results []Result) {
	trim, threshold := w.trimming()
	for i := range entries {
		e := &entries[i]
		if err := w.check(e); err != nil {
			results[i] = Result{Err: err}
			continue
		}
		n := 3 + 2*len(e.Fields)
		if trim != nil {
			n += 3
		}
		cmd := c.command(n)
		args := cmd.Args()
		args[0], args[1] = "xadd", w.key
		if e.Key != "" {
			args[1] = e.Key
		}
		at := 2
		if trim != nil {
			args[2], args[3], args[4] = trim, "~", threshold
			if w.cfg.Exact {
				args[3] = "="
			}
			at = 5
		}
		args[at] = "*"
		if e.ID != "" {
			args[at] = &e.ID
		}
		at++
		for f := range e.Fields {
			args[at], args[at+1] = &e.Fields[f].Name, (*fieldValue)(&e.Fields[f])
			at += 2
		}
		c.queue, c.sent, c.index = append(c.queue, cmd), append(c.sent, cmd), append(c.index, i)
	}
}

// trimming returns the option and its threshold, or nil.
func (w *Writer) trimming() (option, threshold any) {
	switch {
	case w.cfg.MaxLen > 0:
		return "maxlen", w.maxLen
	case w.cfg.MinID != "":
		return "minid", w.cfg.MinID
	case w.cfg.MaxAge > 0:
		return "minid", IDAt(time.Now().Add(-w.cfg.MaxAge)).String()
	}
	return nil, nil
}

// check finds what the server would refuse, or take badly, before anything is sent.
func (w *Writer) check(e *Outgoing) error {
	key := e.Key
	if key == "" {
		key = w.cfg.Key
	}
	if key == "" {
		return &outcomeError{ErrNotWritten, errors.New("neither the entry nor the writer names a key")}
	}
	if len(e.Fields) == 0 {
		return &outcomeError{ErrNotWritten, fmt.Errorf("an entry for %q without fields: Redis takes none", keyName(key))}
	}
	if size := e.Fields.Size(); size > w.cfg.MaxPayload {
		return &TooLargeError{key, size, w.cfg.MaxPayload}
	}
	return nil
}

// command returns a command with n arguments, one used before if there is one.
func (c *chunk) command(n int) *redis.StringCmd {
	at := len(c.sent)
	if at < len(c.cmds) && len(c.cmds[at].Args()) == n {
		cmd := c.cmds[at]
		cmd.SetErr(nil)
		cmd.SetVal("")
		return cmd
	}
	cmd := redis.NewStringCmd(context.Background(), make([]any, n)...)
	cmd.SetFirstKeyPos(1)
	if at < len(c.cmds) {
		c.cmds[at] = cmd
	} else {
		c.cmds = append(c.cmds, cmd)
	}
	return cmd
}

// clear lets go of the entries, which are the caller's.
func (c *chunk) clear() {
	for _, cmd := range c.sent {
		clear(cmd.Args())
	}
	c.queue, c.sent, c.index = c.queue[:0], c.sent[:0], c.index[:0]
}
