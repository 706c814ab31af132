package relay

import (
	"context"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/streamerson/streamerson-go/gateways/internal/wait"
	"github.com/streamerson/streamerson-go/redisio"
)

// Next returns the waiting items, many at once, and blocks until there is something. It retries
// while Redis is unavailable. It returns the cause of the context, after which Next may be called
// again; ErrTooSlow and ErrClosed; and permanent errors of Redis, after which the listener has
// ended.
func (l *Listener[T]) Next(ctx context.Context) (Batch[T], error) { return l.next(ctx, true) }

// Poll is Next for callers that Options.Wake notifies: where Next would wait for entries, Poll
// returns an empty Batch. more is true if there may be more to return at once. Poll reads history,
// and waits for Redis meanwhile.
func (l *Listener[T]) Poll(ctx context.Context) (b Batch[T], more bool, err error) {
	b, err = l.next(ctx, false)
	if err != nil {
		return b, false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return b, l.err != nil || !l.queue.empty() || l.at.behind() ||
		!l.at.live && !l.at.stalled, nil
}

func (l *Listener[T]) next(ctx context.Context, waiting bool) (Batch[T], error) {
	var idle <-chan time.Time
	if l.opts.Idle > 0 && waiting {
		idle = l.startIdle()
		defer l.timer.Stop()
	}
	l.mu.Lock()
	l.recycle()
	l.mu.Unlock()
	var retries *backoff.ExponentialBackOff // nil unless the last read of history failed
	for {
		b, state := l.peek()
		var delay time.Duration // until history is read again
		switch state {
		case found:
			return b, nil
		case ended:
			return Batch[T]{}, l.failure()
		case waits:
			if !waiting {
				return Batch[T]{}, nil
			}
		case behind:
			b, ok, err := l.catchUp(ctx)
			if err == nil && ok {
				return b, nil
			}
			if err == nil {
				retries = nil
				select { // no items for this listener: return the cursor when Idle is over
				case <-idle:
					return l.nothing(), nil
				default:
				}
				continue
			}
			if err := l.final(ctx, err); err != nil {
				return Batch[T]{}, err
			}
			if retries == nil {
				retries = times()
				l.r.cfg.Log.Warn("relay: cannot read history, will retry", "key", l.r.cfg.Key, "error", err)
			}
			delay = retries.NextBackOff()
		}
		if over, err := l.await(ctx, delay, idle); err != nil {
			return Batch[T]{}, err
		} else if over {
			return l.nothing(), nil
		}
	}
}

// startIdle starts the timer of Idle.
func (l *Listener[T]) startIdle() <-chan time.Time {
	if l.timer == nil {
		l.timer = time.NewTimer(l.opts.Idle)
	} else {
		l.timer.Reset(l.opts.Idle)
	}
	return l.timer.C
}

// final returns the error that ends a call after err, or nil if history can be read again. A
// permanent error ends the listener.
func (l *Listener[T]) final(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !redisio.IsPermanent(err):
		return nil
	}
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	l.end(err)
	return err
}

// await waits until there may be something to return, or until delay is over unless it is 0. over is
// set when the time of Idle is over.
func (l *Listener[T]) await(ctx context.Context, delay time.Duration, idle <-chan time.Time) (over bool, err error) {
	var retry <-chan time.Time
	if delay > 0 {
		t := time.NewTimer(delay)
		defer t.Stop()
		retry = t.C
	}
	select {
	case <-l.wakeup:
	case <-retry:
	case <-idle:
		return true, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	return false, nil
}

// times returns the delays between attempts to read.
func times() *backoff.ExponentialBackOff { return wait.Backoff(20*time.Millisecond, 2*time.Second) }

func (l *Listener[T]) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *Listener[T]) nothing() Batch[T] { return Batch[T]{Cursor: l.Cursor()} }

// readState is the result of peek.
type readState int

const (
	waits  readState = iota // nothing to return yet
	found                   // a batch
	behind                  // there is history to read
	ended                   // the listener has ended
)

func (l *Listener[T]) peek() (b Batch[T], what readState) {
	seen := *l.r.seen.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil:
		return b, ended
	case l.at.behind():
		return b, behind
	case !l.queue.empty():
		b = l.take()
		l.pass(seen)
		b.Cursor = l.at.given.String()
		return b, found
	case !l.at.live && !l.at.stalled:
		return b, behind
	}
	return b, waits
}

// catchUp reads a page of history. ok is false if it has nothing for the listener.
func (l *Listener[T]) catchUp(ctx context.Context) (b Batch[T], ok bool, err error) {
	if b, done, known := l.remember(); known {
		return b, done, nil
	}
	l.mu.Lock()
	piece := pageRange{from: l.at.pos, epoch: l.at.epoch}
	if l.at.live {
		piece.to = l.at.until
	}
	l.mu.Unlock()
	p, err := l.r.history.page(ctx, piece)
	if err != nil {
		return b, false, err
	}
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.at.epoch != piece.epoch || l.at.pos != piece.from {
		return b, false, nil // the stream was replaced, or pos has moved
	}
	if p.gap != nil {
		own := *p.gap
		b.Gap = &own
		l.r.count.gaps.Add(1)
	}
	b.Items = l.filter(p.items)
	l.at.pos, l.at.given = p.end, position{id: p.end}
	if !l.at.live && !p.more {
		l.join()
	}
	b.Cursor = l.at.given.String()
	return b, b.Gap != nil || len(b.Items) > 0, nil
}

// join makes the listener live. Entries that arrived while a page was read remain to be read from
// history. The caller holds both locks.
func (l *Listener[T]) join() {
	if !l.r.open { // not live yet and no more to read: opened wakes the listener
		l.at.stalled = true
		return
	}
	l.at.live, l.at.until = true, l.r.last
}

// remember is catchUp from memory. known is false if memory does not have the entries.
func (l *Listener[T]) remember() (b Batch[T], ok, known bool) {
	r := l.r
	r.mu.Lock()
	defer r.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || !r.open || l.at.epoch != r.epoch || l.at.pos.Compare(r.last) > 0 || !r.recent.covers(l.at.pos) {
		return b, false, false
	}
	list, end := r.recent.after(l.at.pos), r.last
	if l.at.live { // entries after until are in the queue
		n, found := slices.BinarySearchFunc(
			list,
			l.at.until,
			func(r record[T], id redisio.ID) int { return r.id.Compare(id) },
		)
		if found {
			n++
		}
		list, end = list[:n], l.at.until
	}
	if len(list) > r.cfg.Page {
		list = list[:r.cfg.Page]
		end = list[len(list)-1].id
	}
	b.Items = l.filter(list)
	l.at.pos, l.at.given = end, position{id: end}
	if !l.at.live && end == r.last {
		l.join()
	}
	b.Cursor = l.at.given.String()
	return b, len(b.Items) > 0, true
}

// filter returns the entries of the listener's topics. The caller holds the listener's lock.
func (l *Listener[T]) filter(list []record[T]) (items []Item[T]) {
	for i := range list {
		if l.wants(list[i].topics) {
			items = append(items, list[i].Item)
		}
	}
	return items
}

func (l *Listener[T]) wants(topics []string) bool {
	if l.opts.All {
		return true
	}
	for _, t := range topics {
		if _, ok := l.topics[t]; ok {
			return true
		}
	}
	return false
}
