package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways/internal/wait"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = time.Second

	// awayAfter is how long writes must fail, after the first failure, until Redis is considered
	// unavailable. A single broken connection is not enough, however long it took to break.
	awayAfter = 100 * time.Millisecond
)

// Errors of writes. Package gateways documents them.
var (
	ErrTimeout     = errors.New("gateways: no reply in time")
	ErrUnavailable = errors.New("gateways: Redis is unavailable, nothing was sent")
	ErrFull        = errors.New("gateways: Redis is out of memory, nothing was sent")
	ErrClosed      = errors.New("gateways: client is closed")
)

// Outbox writes the entries of many goroutines in shared pipelines.
//
// Idea: a loop writes all queued letters as one pipeline. Letters that arrive meanwhile use the
// next one, so pipelines grow with the load. A letter starts the loop if none runs, and the loop
// ends when the queue is empty. No caller writes for others: each waits for its own letter, and
// leaves at its deadline, whatever the state of Redis.
type Outbox struct {
	Open    func(context.Context) error // called before each pipeline to connect what is needed; may be nil
	Patient bool                        // letters wait while Redis is unavailable or full; else they fail

	make  func() (*writer.Writer, error)
	w     atomic.Pointer[writer.Writer] // created by the loop
	loops sync.WaitGroup
	shut  context.Context // done when the outbox is closed for good
	close context.CancelFunc

	mu      sync.Mutex
	queue   []Letter
	writing bool // the loop runs
	kicked  bool // the loop should connect
	holders int
	resting bool // the writer is being closed, and reopens on demand
	health  health

	batch batch // owned by the loop
}

// batch is reused for each pipeline.
type batch struct {
	letters []Letter // empty between loops
	out     []redisio.Outgoing
	results []redisio.Result
}

// Letter is an entry to be written, with what its caller needs to encode it again. Letters embed
// Entry.
type Letter interface {
	// Rewrite returns the fields for an entry that may have been written before.
	Rewrite() redisio.Fields
	// Release is called once neither the outbox nor a caller that posted it uses the letter. It must
	// not block.
	Release()
	entry() *Entry
}

// Entry is the part of a Letter that the outbox uses. On its own it is a Letter that is written
// again unchanged.
type Entry struct {
	Out    redisio.Outgoing
	notify bool       // also report success
	Ev     chan error // the outcome, nil for success; has room for MostEvents

	// Guarded by outbox.mu.
	held   bool   // by the outbox
	gone   bool   // the caller no longer waits
	unsent bool   // certainly not written
	doubt  bool   // possibly written
	id     string // of the entry, once written
}

// Rewrite returns the same fields.
func (e *Entry) Rewrite() redisio.Fields { return e.Out.Fields }

// Release does nothing.
func (e *Entry) Release() {}

func (e *Entry) entry() *Entry { return e }

// MostEvents is the most outcomes of a letter: of the write, the reply, and the end of the wait.
const MostEvents = 3

func New(rdb redis.UniversalClient, cfg writer.Config) *Outbox {
	o := &Outbox{make: func() (*writer.Writer, error) { return writer.New(rdb, cfg) }}
	o.shut, o.close = context.WithCancel(context.Background())
	return o
}

// Post queues a letter.
func (o *Outbox) Post(letter Letter) {
	l := letter.entry()
	o.mu.Lock()
	defer o.mu.Unlock()
	l.unsent = true
	switch {
	case o.closed():
		l.Ev <- ErrClosed
		return
	case o.health.away != nil && o.writing && !o.Patient: // the loop notices when Redis is back
		l.Ev <- o.health.away
		return
	}
	l.held = true
	o.queue = append(o.queue, letter)
	o.start()
}

// let ends the outbox's use of a letter. o.mu is held.
func (o *Outbox) let(letter Letter) {
	l := letter.entry()
	if l.held = false; l.gone {
		letter.Release()
	}
}

// closed reports that the writer is closed for good.
func (o *Outbox) closed() bool { return o.shut.Err() != nil }

// start starts the loop if it is needed. o.mu is held.
func (o *Outbox) start() {
	if !o.writing && !o.resting && !o.closed() {
		o.writing = true
		o.loops.Go(o.loop)
	}
}

// Write posts a letter and waits until it is written.
func (o *Outbox) Write(ctx context.Context, letter Letter) error {
	l := letter.entry()
	l.notify, l.Ev = true, make(chan error, MostEvents)
	defer o.Leave(letter)
	o.Post(letter)
	select {
	case err := <-l.Ev:
		return err
	case <-ctx.Done():
		return o.Unsent(l, GaveUp(ctx))
	}
}

// Unsent adds to the error of a deadline that the letter was certainly not written, if so.
func (o *Outbox) Unsent(l *Entry, err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case !l.unsent || !errors.Is(err, ErrTimeout):
		return err
	case o.health.away != nil:
		return fmt.Errorf("%w: %w", o.health.away, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// ID returns the ID of a letter's entry, or "" if unknown.
func (o *Outbox) ID(l *Entry) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return l.id
}

// Kick connects without anything to write.
func (o *Outbox) Kick() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.writing {
		o.kicked = true
		o.start()
	}
}

// Leave must be called by each caller of post that stops waiting. A letter that has not been sent
// is dropped.
func (o *Outbox) Leave(letter Letter) {
	l := letter.entry()
	o.mu.Lock()
	defer o.mu.Unlock()
	l.gone = true
	if l.unsent {
		// Drop it now: it may be large, and a blocked write takes long.
		if i := slices.Index(o.queue, letter); i >= 0 {
			o.queue = slices.Delete(o.queue, i, i+1)
			l.held = false
		}
	}
	if !l.held {
		letter.Release()
	}
}

// loop writes until nothing is left to write.
func (o *Outbox) loop() {
	ctx := context.Background()
	backoff := wait.Backoff(firstRetry, lastRetry)
	batch := o.batch.letters
	for {
		var more bool
		if batch, more = o.take(batch, false); !more {
			return
		}
		had := len(batch)
		if err := o.health.answers.Look(o.connect(ctx)); err != nil {
			results := o.batch.room(len(batch))
			for i := range results {
				results[i] = redisio.Result{Err: err}
			}
			batch = o.sort(batch, results)
		} else {
			if batch, more = o.take(batch, true); !more { // deliver may have taken long
				return
			}
			had = len(batch)
			batch = o.deliver(ctx, batch)
		}
		if len(batch) < had && o.health.since.IsZero() { // progress: no pause
			backoff.Reset()
		}
		if len(batch) > 0 {
			wait.For(o.shut, backoff.NextBackOff())
		}
	}
}

// take returns the letters to write: unwritten and new ones, without those that their callers have
// given up. If more is false, the loop must end.
func (o *Outbox) take(rest []Letter, sending bool) (batch []Letter, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	batch = slices.DeleteFunc(append(rest, o.queue...), func(l Letter) bool {
		gone := l.entry().gone
		if gone {
			o.let(l)
		}
		return gone
	})
	clear(o.queue)
	o.queue = o.queue[:0]
	if sending {
		for _, l := range batch {
			l.entry().unsent = false
		}
	}
	more = len(batch) > 0 || o.kicked
	o.kicked = false
	if !more {
		o.writing, o.batch.letters = false, batch
		o.health.since = time.Time{}
	}
	return batch, more
}

// connect opens the writer, unless it is open.
func (o *Outbox) connect(ctx context.Context) error {
	if o.Open != nil {
		if err := o.Open(ctx); err != nil {
			return err
		}
	}
	if o.w.Load() != nil {
		return nil
	}
	w, err := o.make()
	if err != nil {
		return err
	}
	if err := w.Open(ctx); err != nil {
		return err
	}
	o.mu.Lock()
	closed := o.closed()
	if !closed {
		o.w.Store(w)
	}
	o.mu.Unlock()
	if closed {
		return errors.Join(ErrClosed, w.Close(ctx))
	}
	return nil
}

// Hold keeps the writer open; call release as often.
func (o *Outbox) Hold() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.holders++
}

// releaseMost is how long Release may take.
const releaseMost = 5 * time.Second

// Release disconnects when there are no more holders. It does so also after ctx is done, within 5
// seconds.
func (o *Outbox) Release(ctx context.Context) error {
	o.mu.Lock()
	o.holders--
	if o.holders > 0 || o.resting || o.closed() {
		o.mu.Unlock()
		return nil
	}
	o.resting = true
	o.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseMost)
	defer cancel()
	err := o.disconnect(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.resting = false
	if len(o.queue) > 0 {
		o.start()
	}
	return err
}

// Close closes the outbox: later letters fail with errClosed.
func (o *Outbox) Close(ctx context.Context) error {
	o.mu.Lock()
	was := o.closed()
	o.close()
	o.mu.Unlock()
	if was {
		return nil
	}
	return o.disconnect(ctx)
}

// disconnect closes the writer when the loop has ended. If ctx ends first, the running write fails.
func (o *Outbox) disconnect(ctx context.Context) error {
	ended := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		o.loops.Wait()
		close(ended)
	})
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		o.drop()
		err = fmt.Errorf("gateways: close during a write: %w", context.Cause(ctx))
	}
	if w := o.w.Swap(nil); w != nil {
		err = errors.Join(err, w.Close(ctx))
	}
	return err
}

// drop fails all letters that have not been sent.
func (o *Outbox) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.queue {
		l.entry().Ev <- ErrClosed
		o.let(l)
	}
	clear(o.queue)
	o.queue = o.queue[:0]
}

// GaveUp is the error of a call after its context is done.
func GaveUp(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrTimeout, context.Cause(ctx))
	}
	return fmt.Errorf("gateways: call was cancelled: %w", context.Cause(ctx))
}
