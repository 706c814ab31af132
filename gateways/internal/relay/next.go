package relay

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/streamerson/streamerson-go/gateways/internal/wait"
	"github.com/streamerson/streamerson-go/redisio"
)

// Next returns what there is for the listener, many items at once, and blocks until there is
// something. While Redis is away it waits. Errors are the context's cause, after which Next may be
// called again; ErrTooSlow and ErrClosed; and what Redis says and will say again: then the listener
// has ended.
func (l *Listener[T]) Next(ctx context.Context) (Batch[T], error) { return l.next(ctx, true) }

// Poll is Next for those who are told by Options.Wake when to look: where Next would wait for
// entries it returns an empty Batch. more says that there is something else already, or may be: it
// reads history, and waits for Redis while it does.
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
				select { // a page of nothing for us: is it time to say how far we are?
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
				l.r.cfg.Log.Warn("relay: history can't be read yet", "key", l.r.cfg.Key, "error", err)
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

// times are those between tries to read.
func times() *backoff.ExponentialBackOff { return wait.Backoff(20*time.Millisecond, 2*time.Second) }

func (l *Listener[T]) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *Listener[T]) nothing() Batch[T] { return Batch[T]{Cursor: l.Cursor()} }

// what look saw.
type sight int

const (
	waits   sight = iota // for news
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

// catchUp reads a page of history. ok says that there is something for the listener in it.
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
		return b, false, nil // it is another stream now, and pos another place
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

// join makes what comes from now on be queued. There may be some history left, which has come while
// a page was read. Both locks are held.
func (l *Listener[T]) join() {
	if !l.r.open { // nothing is live yet, and there is no more to read: open wakes us
		l.stalled = true
		return
	}
	l.live, l.until = true, l.r.last
}
