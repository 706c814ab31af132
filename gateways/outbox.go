package gateways

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways/internal/wait"
	"github.com/streamerson/streamerson-go/redisio"
)

const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = time.Second
)

// outbox writes entries for many goroutines, together, and has no goroutine of its own.
//
// Idea: who comes when nobody writes, leads: it writes its own entry and all that have come by then as one pipeline. What
// comes meanwhile waits for the next, which is led by one of those who wait. A single caller writes at once, and many of them
// share pipelines, which grow with the load (flat combining: Hendler et al., SPAA 2010).
type outbox struct {
	rdb redis.UniversalClient
	cfg redisio.WriterConfig

	opening sync.Mutex
	holders int // guarded by opening
	w       atomic.Pointer[redisio.Writer]

	mu      sync.Mutex
	queue   []*letter
	leading bool

	// Of the leader alone.
	spare   []*letter
	out     []redisio.Outgoing
	results []redisio.Result
}

// letter is one entry on its way.
type letter struct {
	out    redisio.Outgoing
	again  rewriter   // for one that may have been written before; nil: the same fields
	notify bool       // of the good end too
	ev     chan event // has room for all that may come
	gone   bool       // nobody waits any more; guarded by outbox.mu
}

// rewriter makes the fields of an entry that may have been written before.
type rewriter interface{ rewrite() redisio.Fields }

// events is how many may come: the lead, how the writing went, and the reply, each once at a time.
const events = 3

// event is what somebody who waits is told: to lead, how the writing went, or the reply.
type event struct {
	what what
	err  error // with wrote
}

type what uint8

const (
	leads what = iota + 1
	wrote
	replied
)

// hold connects, unless others hold it already; release is to be called as often, and disconnects with the last.
func (o *outbox) hold(ctx context.Context) error {
	o.opening.Lock()
	defer o.opening.Unlock()
	if o.holders == 0 {
		w, err := redisio.NewWriter(o.rdb, o.cfg)
		if err == nil {
			err = w.Open(ctx)
		}
		if err != nil {
			return err
		}
		o.w.Store(w)
	}
	o.holders++
	return nil
}

func (o *outbox) release(ctx context.Context) error {
	o.opening.Lock()
	defer o.opening.Unlock()
	if o.holders--; o.holders > 0 {
		return nil
	}
	return o.w.Swap(nil).Close(ctx)
}

// post puts a letter in. If there is nobody to write it the caller does, before post returns.
func (o *outbox) post(ctx context.Context, until time.Time, l *letter) {
	o.mu.Lock()
	o.queue = append(o.queue, l)
	lead := !o.leading
	o.leading = true
	o.mu.Unlock()
	if lead {
		o.lead(ctx, until)
	}
}

// write posts a letter and waits until it is written.
func (o *outbox) write(ctx context.Context, until time.Time, l *letter) error {
	l.notify, l.ev = true, make(chan event, events)
	defer o.leave(l)
	o.post(ctx, until, l)
	for {
		select {
		case e := <-l.ev:
			if e.what == wrote {
				return e.err
			}
			o.lead(ctx, until)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// leave is to be called by everybody who has posted, and waits no longer. What has not been sent is not sent.
func (o *outbox) leave(l *letter) {
	o.mu.Lock()
	l.gone = true
	led := false
	for len(l.ev) > 0 {
		e := <-l.ev
		led = led || e.what == leads
	}
	o.mu.Unlock()
	if led {
		o.pass()
	}
}

// pass gives the lead to one of those who wait.
func (o *outbox) pass() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.queue {
		if !l.gone {
			l.ev <- event{what: leads}
			return
		}
	}
	clear(o.queue)
	o.queue, o.leading = o.queue[:0], false
}

// lead writes what has come, and passes the lead on. The leader has until the time, or as long as its context runs; what is not
// written by then is for the next.
func (o *outbox) lead(ctx context.Context, until time.Time) {
	o.mu.Lock()
	batch := o.queue
	o.queue, o.spare = o.spare[:0], nil
	o.mu.Unlock()
	o.deliver(ctx, until, o.waiting(batch))
	clear(batch)
	o.spare = batch
	o.pass()
}

// deliver writes a batch, and again what did not get through.
func (o *outbox) deliver(ctx context.Context, until time.Time, batch []*letter) {
	wait := newBackoff()
	for len(batch) > 0 {
		o.out = o.out[:0]
		for _, l := range batch {
			o.out = append(o.out, l.out)
		}
		if cap(o.results) < len(batch) {
			o.results = make([]redisio.Result, 2*len(batch))
		}
		results := o.results[:len(batch)]
		o.append(ctx, results)
		clear(o.out)
		rest := batch[:0]
		for i, l := range batch {
			err := results[i].Err
			switch {
			case err == nil:
				if l.notify {
					l.ev <- event{what: wrote}
				}
				continue
			case final(err):
				l.ev <- event{what: wrote, err: err}
				continue
			case errors.Is(err, redisio.ErrUnknownOutcome) && l.again != nil:
				l.out.Fields, l.again = l.again.rewrite(), nil
			}
			rest = append(rest, l)
		}
		if batch = rest; len(batch) == 0 || !pauseUntil(ctx, until, wait.NextBackOff()) {
			break
		}
		batch = o.waiting(batch)
	}
	if len(batch) > 0 {
		o.mu.Lock()
		o.queue = slices.Concat(batch, o.queue)
		o.mu.Unlock()
	}
}

// append is one Write. It does not end with the context of the leader: most of what is written is not its own.
func (o *outbox) append(ctx context.Context, results []redisio.Result) {
	w := o.w.Load()
	if w == nil { // let go by all who held it: nobody waits
		for i := range results {
			results[i] = redisio.Result{Err: redisio.ErrClosed}
		}
		return
	}
	_ = w.Write(context.WithoutCancel(ctx), o.out, results) // the results tell
}

// waiting leaves out those whose sender has gone.
func (o *outbox) waiting(batch []*letter) []*letter {
	o.mu.Lock()
	defer o.mu.Unlock()
	rest := batch[:0]
	for _, l := range batch {
		if !l.gone {
			rest = append(rest, l)
		}
	}
	return rest
}

func pause(ctx context.Context, d time.Duration) bool { return wait.For(ctx, d) }

// pauseUntil is pause, and ends at until.
func pauseUntil(ctx context.Context, until time.Time, d time.Duration) bool {
	if !until.IsZero() {
		d = min(d, time.Until(until))
	}
	return pause(ctx, d) && !expired(until)
}

// final reports an error that trying again would not change.
func final(err error) bool {
	var large *redisio.TooLargeError
	return redisio.IsPermanent(err) || errors.As(err, &large) || errors.Is(err, redisio.ErrNoStream) || errors.Is(err, redisio.ErrClosed)
}
