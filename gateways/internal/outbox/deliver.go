package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

// deliver writes a batch and returns the letters to write again.
func (o *Outbox) deliver(ctx context.Context, batch []Letter, began time.Time) (rest []Letter) {
	o.out = o.out[:0]
	for _, l := range batch {
		o.out = append(o.out, l.entry().Out)
	}
	results := o.room(len(batch))
	if w := o.w.Load(); w != nil {
		_ = w.Write(ctx, o.out, results) // the results contain the errors
	} else { // it has just been closed
		for i := range results {
			results[i] = redisio.Result{Err: ErrClosed}
		}
	}
	clear(o.out)
	return o.sort(batch, results, began)
}

func (o *Outbox) room(n int) []redisio.Result {
	if cap(o.results) < n {
		o.results = make([]redisio.Result, 2*n)
	}
	return o.results[:n]
}

// sort reports the results to the callers and returns the letters to write again.
func (o *Outbox) sort(batch []Letter, results []redisio.Result, began time.Time) (rest []Letter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.judge(results, began)
	rest = batch[:0]
	for i, letter := range batch {
		l, err := letter.entry(), results[i].Err
		if errors.Is(err, redisio.ErrUnknownOutcome) && !l.doubt {
			l.doubt = true
			l.Out.Fields = letter.Rewrite()
		}
		switch {
		case err == nil:
			l.id = results[i].ID
			if l.notify {
				l.Ev <- Event{Kind: Wrote}
			}
			continue
		case final(err):
		case o.closed:
			err = ErrClosed
		case l.doubt || o.Patient: // retried for as long as its caller waits
			l.unsent = !l.doubt
			rest = append(rest, letter)
			continue
		case isFull(err):
			err = fmt.Errorf("%w: %w", ErrFull, err)
		case o.away != nil:
			err = o.away
		default:
			l.unsent = true
			rest = append(rest, letter)
			continue
		}
		l.Ev <- Event{Kind: Wrote, Err: err}
	}
	clear(batch[len(rest):])
	return rest
}

// judge decides whether Redis is unavailable. o.mu is held.
func (o *Outbox) judge(results []redisio.Result, began time.Time) {
	var away error
	for i := range results {
		err := results[i].Err
		if err == nil {
			o.answers.Worked()
		}
		switch {
		case err == nil, final(err), isFull(err): // the server has answered
			o.since, o.away = time.Time{}, nil
			return
		case away == nil:
			away = err
		}
	}
	if o.since.IsZero() {
		o.since = began
	}
	if time.Since(o.since) >= awayAfter {
		o.away = fmt.Errorf("%w: %w", ErrUnavailable, away)
	}
}

// isFull reports whether the server is out of memory.
func isFull(err error) bool { return errors.Is(err, redisio.ErrBackpressure) || redisio.IsFull(err) }

// final reports an error that a retry would not change.
func final(err error) bool {
	var large *redisio.TooLargeError
	return redisio.IsPermanent(err) || errors.As(err, &large) || errors.Is(err, redisio.ErrNoStream) ||
		errors.Is(err, redisio.ErrClosed) || errors.Is(err, ErrClosed)
}
