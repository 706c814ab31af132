package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

// deliver writes a batch and returns the letters to write again.
func (o *Outbox) deliver(ctx context.Context, batch []Letter) (rest []Letter) {
	out := o.batch.out[:0]
	for _, l := range batch {
		out = append(out, l.entry().Out)
	}
	o.batch.out = out
	results := o.batch.room(len(batch))
	if w := o.w.Load(); w != nil {
		_ = w.Write(ctx, out, results) // the results contain the errors
	} else { // it has just been closed
		for i := range results {
			results[i] = redisio.Result{Err: ErrClosed}
		}
	}
	clear(out)
	return o.sort(batch, results)
}

func (b *batch) room(n int) []redisio.Result {
	if cap(b.results) < n {
		b.results = make([]redisio.Result, 2*n)
	}
	return b.results[:n]
}

// sort reports the results to the callers and returns the letters to write again.
func (o *Outbox) sort(batch []Letter, results []redisio.Result) (rest []Letter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.health.judge(results)
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
				l.Ev <- nil
			}
			o.let(letter)
			continue
		case final(err):
		case o.closed():
			err = ErrClosed
		case l.doubt || o.Patient: // retried for as long as its caller waits
			l.unsent = !l.doubt
			rest = append(rest, letter)
			continue
		case isFull(err):
			err = fmt.Errorf("%w: %w", ErrFull, err)
		case o.health.away != nil:
			err = o.health.away
		default:
			l.unsent = true
			rest = append(rest, letter)
			continue
		}
		l.Ev <- err
		o.let(letter)
	}
	clear(batch[len(rest):])
	return rest
}

// health tells whether Redis is available. Guarded by Outbox.mu, except answers.
type health struct {
	since   time.Time        // when the first write since the last success failed
	away    error            // why recent writes failed; nil if they succeeded
	answers redisio.Patience // of connecting: a reopened writer has had no success before
}

// judge decides whether Redis is unavailable.
func (h *health) judge(results []redisio.Result) {
	var away error
	for i := range results {
		err := results[i].Err
		if err == nil {
			h.answers.Worked()
		}
		switch {
		case err == nil, final(err), isFull(err): // the server has answered
			h.since, h.away = time.Time{}, nil
			return
		case away == nil:
			away = err
		}
	}
	if h.since.IsZero() {
		h.since = time.Now()
	}
	if time.Since(h.since) >= awayAfter {
		h.away = fmt.Errorf("%w: %w", ErrUnavailable, away)
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
