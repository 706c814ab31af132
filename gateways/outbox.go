package gateways

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = time.Second

	// awayAfter is how long writes must fail until Redis counts as unavailable. A single broken
	// connection does not.
	awayAfter = 100 * time.Millisecond
)

// outbox writes the entries of many goroutines in shared pipelines.
//
// Idea: a loop writes all queued letters as one pipeline. Letters that arrive meanwhile use the
// next one, so pipelines grow with the load. A letter starts the loop if none runs, and the loop
// ends when the queue is empty. No caller writes for others: each waits for its own letter, and
// leaves at its deadline, whatever the state of Redis.
type outbox struct {
	rdb     redis.UniversalClient
	cfg     writer.Config
	open    func(context.Context) error // called before each pipeline to connect what is needed; may be nil
	patient bool                        // letters wait while Redis is unavailable or full; else they fail

	loops sync.WaitGroup
	w     atomic.Pointer[writer.Writer] // created by the loop

	closing chan struct{} // closed by close

	mu      sync.Mutex
	queue   []*letter
	writing bool // the loop runs
	kicked  bool // the loop should connect
	holders int
	resting bool             // the writer is being closed, and reopens on demand
	closed  bool             // the writer is closed for good
	away    error            // why recent writes failed; nil if they succeeded
	answers redisio.Patience // of connecting: a reopened writer has had no success before

	// Owned by the loop.
	since   time.Time // when the first of the failed writes since the last success began
	out     []redisio.Outgoing
	results []redisio.Result
}

// letter is one entry to be written.
type letter struct {
	out    redisio.Outgoing
	again  rewriter   // the fields of a possible copy; nil: the same fields
	notify bool       // also send an event for success
	ev     chan event // has room for all events

	// Guarded by outbox.mu.
	gone   bool   // the caller no longer waits
	unsent bool   // certainly not written
	doubt  bool   // possibly written
	id     string // of the entry, once written
}

// rewriter returns the fields of an entry that may have been written before.
type rewriter interface{ rewrite() redisio.Fields }

// events is the most events of a letter: the outcome of the write, the reply, and the end of the
// wait.
const events = 3

// event tells a waiting caller what happened.
type event struct {
	what what
	err  error // with wrote
}

type what uint8

const (
	wrote what = iota + 1
	replied
)

func newOutbox(rdb redis.UniversalClient, cfg writer.Config) *outbox {
	return &outbox{rdb: rdb, cfg: cfg, closing: make(chan struct{})}
}

// post queues a letter.
func (o *outbox) post(l *letter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l.unsent = true
	switch {
	case o.closed:
		l.ev <- event{what: wrote, err: ErrClosed}
		return
	case o.away != nil && o.writing && !o.patient: // the loop notices when Redis is back
		l.ev <- event{what: wrote, err: o.away}
		return
	}
	o.queue = append(o.queue, l)
	o.start()
}

// start starts the loop if it is needed. o.mu is held.
func (o *outbox) start() {
	if !o.writing && !o.resting && !o.closed {
		o.writing = true
		o.loops.Go(o.loop)
	}
}

// write posts a letter and waits until it is written.
func (o *outbox) write(ctx context.Context, l *letter) error {
	l.notify, l.ev = true, make(chan event, events)
	defer o.leave(l)
	o.post(l)
	select {
	case e := <-l.ev:
		return e.err
	case <-ctx.Done():
		return o.unsent(l, gaveUp(ctx))
	}
}

// unsent adds to the error of a deadline that the letter was certainly not written, if so.
func (o *outbox) unsent(l *letter, err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case !l.unsent || !errors.Is(err, ErrTimeout):
		return err
	case o.away != nil:
		return fmt.Errorf("%w: %w", o.away, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// entry returns the ID of a letter's entry, or "" if unknown.
func (o *outbox) entry(l *letter) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return l.id
}

// kick connects without anything to write.
func (o *outbox) kick() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.writing {
		o.kicked = true
		o.start()
	}
}

// leave must be called by each caller of post that stops waiting. A letter that has not been sent
// is dropped.
func (o *outbox) leave(l *letter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l.gone = true
	if l.unsent {
		if i := slices.Index(o.queue, l); i >= 0 { // drop it now: it may be large, and a blocked write takes long
			o.queue = slices.Delete(o.queue, i, i+1)
		}
	}
}

// loop writes until nothing is left to write.
func (o *outbox) loop() {
	ctx := context.Background()
	wait := newBackoff()
	var batch []*letter
	for {
		var more bool
		if batch, more = o.take(batch, false); !more {
			return
		}
		began, had := time.Now(), len(batch)
		if err := o.answers.Look(o.connect(ctx)); err != nil {
			batch = o.refused(batch, began, err)
		} else {
			if batch, more = o.take(batch, true); !more { // deliver may have taken long
				return
			}
			had = len(batch)
			batch = o.deliver(ctx, batch, began)
		}
		if len(batch) < had && o.since.IsZero() { // progress: no pause
			wait.Reset()
		}
		if len(batch) > 0 {
			o.pause(wait.NextBackOff())
		}
	}
}

// pause waits before the next try, unless the outbox is closed.
func (o *outbox) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-o.closing:
	}
}

// take returns the letters to write: unwritten and new ones, without those whose callers have left.
// If more is false, the loop must end.
func (o *outbox) take(rest []*letter, sending bool) (batch []*letter, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	batch = slices.DeleteFunc(append(rest, o.queue...), func(l *letter) bool { return l.gone })
	clear(o.queue)
	o.queue = o.queue[:0]
	for _, l := range batch {
		l.unsent = l.unsent && !sending
	}
	more = len(batch) > 0 || o.kicked
	o.kicked = false
	if !more {
		o.writing = false
		o.since = time.Time{}
	}
	return batch, more
}

// connect opens the writer, unless it is open.
func (o *outbox) connect(ctx context.Context) error {
	if o.open != nil {
		if err := o.open(ctx); err != nil {
			return err
		}
	}
	if o.w.Load() != nil {
		return nil
	}
	w, err := writer.New(o.rdb, o.cfg)
	if err != nil {
		return err
	}
	if err := w.Open(ctx); err != nil {
		return err
	}
	o.mu.Lock()
	closed := o.closed
	if !closed {
		o.w.Store(w)
	}
	o.mu.Unlock()
	if closed {
		return errors.Join(ErrClosed, w.Close(ctx))
	}
	return nil
}

// refused handles a batch of which nothing could be written.
func (o *outbox) refused(batch []*letter, began time.Time, err error) (rest []*letter) {
	results := o.room(len(batch))
	for i := range results {
		results[i] = redisio.Result{Err: err}
	}
	return o.sort(batch, results, began)
}

// hold keeps the writer open; call release as often.
func (o *outbox) hold() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.holders++
}

// release disconnects when there are no more holders.
func (o *outbox) release(ctx context.Context) error {
	o.mu.Lock()
	o.holders--
	if o.holders > 0 || o.resting || o.closed {
		o.mu.Unlock()
		return nil
	}
	o.resting = true
	o.mu.Unlock()
	err := o.disconnect(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.resting = false
	if len(o.queue) > 0 {
		o.start()
	}
	return err
}

// close closes the outbox: later letters fail with ErrClosed.
func (o *outbox) close(ctx context.Context) error {
	o.mu.Lock()
	was := o.closed
	o.closed = true
	o.mu.Unlock()
	if was {
		return nil
	}
	close(o.closing)
	return o.disconnect(ctx)
}

// disconnect closes the writer when the loop has ended. If ctx ends first, the running write fails.
func (o *outbox) disconnect(ctx context.Context) error {
	ended := make(chan struct{})
	wait := sync.WaitGroup{}
	wait.Go(func() {
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
func (o *outbox) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.queue {
		l.ev <- event{what: wrote, err: ErrClosed}
	}
	clear(o.queue)
	o.queue = o.queue[:0]
}
