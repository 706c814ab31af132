package projection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/view"
)

// applier applies events to a build, and commits the changes of many together.
type applier[E any] struct {
	p         *Projection[E]
	partition int
}

// commitBytes is the size of changes after which a commit does not wait for more events.
const commitBytes = 1 << 20

// errStale is the error of events that are read again.
var errStale = errors.New("projection: the event is read again")

// Write applies the events of a chunk in order. Events behind one that fails fail with it.
func (a *applier[E]) Write(ctx context.Context, chunk []flow.Message[item[E]]) error {
	done := 0
	for done < len(chunk) {
		n, err := a.apply(ctx, chunk[done:])
		done += n
		if err != nil {
			return failedFrom(done, len(chunk), err)
		}
	}
	return nil
}

// failedFrom is the error of a chunk. Its messages from index done on are not written.
func failedFrom(done, n int, err error) error {
	errs := make([]error, n)
	for i := done; i < n; i++ {
		errs[i] = err
	}
	return &flow.WriteError{Errs: errs}
}

// apply applies events of the first message's session in one commit, and returns how many were
// committed. The error is that of the event behind them.
func (a *applier[E]) apply(ctx context.Context, chunk []flow.Message[item[E]]) (done int, err error) {
	s := chunk[0].Value.session
	from := chunk[0].Value.before
	if s.dead.Load() || s.done != from {
		s.dead.Store(true)
		return 0, flow.RetryAfter(0, errStale)
	}
	tx := a.p.view.Of(s.build).Begin(a.partition)
	to, n := from, 0
	for _, m := range chunk {
		if m.Value.session != s || n > 0 && tx.Size() > commitBytes {
			break
		}
		size := tx.Size()
		if err = a.one(ctx, tx, m.Value); err != nil {
			if tx.Size() == size || n == 0 { // it has changed nothing
				break
			}
			done, again := a.apply(ctx, chunk[:n]) // without its changes
			return done, errors.Join(again, err)
		}
		to, n = m.Value.event.ID, n+1
	}
	if n == 0 {
		return 0, err
	}
	if failed := a.commit(ctx, s, tx, from, to, n); failed != nil {
		if bad := (*view.KeyError)(nil); errors.As(failed, &bad) {
			if n > 1 { // which event has made the wrong change?
				return a.apply(ctx, chunk[:n/2])
			}
			failed = a.failed(chunk[0].Value, failed)
		}
		return 0, failed
	}
	return n, err
}

// one applies an event.
func (a *applier[E]) one(ctx context.Context, tx *view.Tx, it item[E]) (err error) {
	if it.err != nil {
		if a.p.cfg.SkipUndecodable {
			return nil
		}
		return it.err
	}
	defer flow.Catch(&err)
	err = a.p.cfg.Apply(ctx, tx, it.event)
	d, _ := flow.Verdict(err)
	switch {
	case err == nil || d.Do == flow.ActDrop:
		return nil
	case d.Do == flow.ActDead: // a view without the event would be wrong, and there are no dead letters
		err = errors.New(err.Error())
	}
	return a.failed(it, err)
}

// failed names the event of an error.
func (a *applier[E]) failed(it item[E], err error) error {
	return fmt.Errorf("projection %s: event %v of %q: %w", a.p.cfg.Name, it.event.ID, it.event.Aggregate, err)
}

func (a *applier[E]) commit(ctx context.Context, s *session, tx *view.Tx, from, to redisio.ID, n int) error {
	err := a.p.view.Commit(ctx, tx, s.owner, from, to, n)
	switch {
	case err == nil:
		s.done = to
		return nil
	case errors.Is(err, view.ErrMoved):
		s.dead.Store(true)
		return flow.RetryAfter(0, err)
	case errors.Is(err, view.ErrPaused): // another build may be live soon
		s.dead.Store(true)
		return flow.RetryAfter(10*time.Millisecond, err)
	}
	return err
}
