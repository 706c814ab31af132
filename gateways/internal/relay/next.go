package relay

import (
	"context"
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
	return b, l.err != nil || l.lost != nil || l.head < len(l.queue) || l.live && l.pos.Compare(l.until) < 0 ||
		!l.live && !l.stalled, nil
}

func (l *Listener[T]) next(ctx context.Context, waiting bool) (Batch[T], error) {
	var idle <-chan time.Time
	if l.opts.Idle > 0 && waiting {
		if l.timer == nil {
			l.timer = time.NewTimer(l.opts.Idle)
		} else {
			l.timer.Reset(l.opts.Idle)
		}
		defer l.timer.Stop()
		idle = l.timer.C
	}
	l.mu.Lock()
	l.recycle()
	l.mu.Unlock()
	var again *backoff.ExponentialBackOff
	for {
		b, what := l.look()
		var retry <-chan time.Time
		var stop func() bool
		switch what {
		case waits:
			if !waiting {
				return Batch[T]{}, nil
			}
		case found:
			return b, nil
		case over:
			return Batch[T]{}, l.failure()
		case history:
			b, ok, err := l.catchUp(ctx)
			switch {
			case err == nil && ok:
				return b, nil
			case err == nil:
				again = nil
				select { // no items for this listener: return the cursor when Idle is over
				case <-idle:
					return l.nothing(), nil
				default:
				}
				continue
			case ctx.Err() != nil:
				return Batch[T]{}, context.Cause(ctx)
			case redisio.IsPermanent(err):
				l.r.mu.Lock()
				l.end(err)
				l.r.mu.Unlock()
				return Batch[T]{}, err
			}
			if again == nil {
				again = times()
				l.r.cfg.Log.Warn("relay: cannot read history, will retry", "key", l.r.cfg.Key, "error", err)
			}
			t := time.NewTimer(again.NextBackOff())
			retry, stop = t.C, t.Stop
		}
		select {
		case <-l.news:
		case <-retry:
		case <-idle:
			b = l.nothing()
			what = found
		case <-ctx.Done():
			what = over
		}
		if stop != nil {
			stop()
		}
		switch what {
		case found:
			return b, nil
		case over:
			return Batch[T]{}, context.Cause(ctx)
		}
	}
}

// times returns the delays between attempts to read.
func times() *backoff.ExponentialBackOff { return wait.Backoff(20*time.Millisecond, 2*time.Second) }

func (l *Listener[T]) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *Listener[T]) nothing() Batch[T] { return Batch[T]{Cursor: l.Cursor()} }

// sight is the result of look.
type sight int

const (
	waits   sight = iota // nothing to return yet
	found                // a batch
	history              // there is history to read
	over                 // the listener has ended
)

func (l *Listener[T]) look() (b Batch[T], what sight) {
	seen := *l.r.seen.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil:
		return b, over
	case l.live && l.pos.Compare(l.until) < 0:
		return b, history
	case l.lost != nil || l.head < len(l.queue):
		b = l.take()
		l.pass(seen)
		b.Cursor = l.given.String()
		return b, found
	case !l.live && !l.stalled:
		return b, history
	}
	return b, waits
}

// catchUp reads a page of history. ok is false if it has nothing for the listener.
func (l *Listener[T]) catchUp(ctx context.Context) (b Batch[T], ok bool, err error) {
	if b, done, known := l.remember(); known {
		return b, done, nil
	}
	l.mu.Lock()
	piece := span{from: l.pos, life: l.life}
	if l.live {
		piece.to = l.until
	}
	l.mu.Unlock()
	p, err := l.r.page(ctx, piece)
	if err != nil {
		return b, false, err
	}
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.life != piece.life || l.pos != piece.from {
		return b, false, nil // the stream was replaced, or pos has moved
	}
	if p.gap != nil {
		own := *p.gap
		b.Gap = &own
		l.r.gaps.Add(1)
	}
	b.Items = l.filter(p.items)
	l.pos, l.given = p.end, place{id: p.end}
	if !l.live && !p.more {
		l.join()
	}
	b.Cursor = l.given.String()
	return b, b.Gap != nil || len(b.Items) > 0, nil
}

// join makes the listener live. Entries that arrived while a page was read remain to be read from
// history. The caller holds both locks.
func (l *Listener[T]) join() {
	if !l.r.open { // not live yet and no more to read: opened wakes the listener
		l.stalled = true
		return
	}
	l.live, l.until = true, l.r.last
}
