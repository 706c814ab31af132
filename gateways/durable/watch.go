package durable

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/transcript"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// attempt is a writer of this process.
type attempt struct {
	id     string
	claim  transcript.Claim        // as it was made; guarded by the lock of the Replies
	cancel context.CancelCauseFunc // of the handler's context
	over   chan struct{}           // closed when its handler has returned
}

// Idea of this file: a writer must learn that its reply was stopped even if it sends nothing. All
// writers of a process share one connection that reads the stream of stops. A stop may be written
// before that connection is there, or while it is broken. So each writer also checks its reply every
// two seconds, which renews the reply's time to live, too.

// join registers a writer. If this process writes the reply already, join waits until that writer has
// ended: it may have lost the request, which this writer then has.
func (r *Replies) join(ctx context.Context, a *attempt) error {
	for {
		other, err := r.enlist(ctx, a)
		if other == nil || err != nil {
			return err
		}
		select {
		case <-other.over:
		case <-flow.DrainStarted(ctx):
			return flow.RetryAfter(handOver, ErrDraining)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (r *Replies) enlist(ctx context.Context, a *attempt) (other *attempt, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	if other = r.writers[a.id]; other != nil {
		return other, nil
	}
	if r.watch != nil {
		select {
		case <-r.watch.Done(): // it has failed: try again with a new one
			r.watch = nil
		default:
		}
	}
	if r.watch == nil {
		// The graph belongs to the Replies, not to its first writer.
		if r.watch, err = r.watchGraph().Start(context.WithoutCancel(ctx)); err != nil {
			return nil, err
		}
	}
	r.writers[a.id] = a
	return nil, nil
}

// begun sets the claim of an attempt.
func (r *Replies) begun(a *attempt, c transcript.Claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.claim = c
}

// part removes a writer.
func (r *Replies) part(a *attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.writers, a.id)
	close(a.over)
}

func (r *Replies) watchGraph() *flow.Graph {
	stops := source.Tail(r.rdb, source.TailConfig[string]{Key: r.store.StopsKey(), Wait: time.Hour},
		flow.Name("stops"), flow.Traits{Untraced: true})
	apply := sink.Func(r.stopped, flow.Name("apply stops"))
	return flow.New("durable replies", flow.To(stops, apply),
		flow.Task("renew", flow.Every(renewEvery, r.renew)), flow.Log(r.cfg.Log))
}

// settled cancels the writer of a reply in this process.
func (r *Replies) settled(id string, cause error) {
	r.mu.Lock()
	a := r.writers[id]
	r.mu.Unlock()
	if a != nil {
		a.cancel(cause)
	}
}

// stopped checks the writer of a reply that was ended or deleted.
func (r *Replies) stopped(ctx context.Context, id string) error {
	r.mu.Lock()
	var a attempt
	if found := r.writers[id]; found != nil {
		a = *found
	}
	r.mu.Unlock()
	if a.claim.Attempt > 0 {
		r.check(ctx, a)
	}
	return nil
}

// renew renews the life of all replies that this process writes, and checks that it still may.
func (r *Replies) renew(ctx context.Context, _ time.Time) error {
	r.mu.Lock()
	all := make([]attempt, 0, len(r.writers))
	for _, a := range r.writers {
		if a.claim.Attempt > 0 {
			all = append(all, *a)
		}
	}
	r.mu.Unlock()
	var group errgroup.Group
	group.SetLimit(8)
	for _, a := range all {
		group.Go(func() error {
			r.check(ctx, a)
			return nil // the next round tries again
		})
	}
	return group.Wait()
}

// check cancels a writer that no longer owns its reply. Otherwise it renews the reply's life.
func (r *Replies) check(ctx context.Context, a attempt) {
	ctx, cancel := context.WithTimeout(ctx, renewEvery)
	defer cancel()
	err := r.store.Append(ctx, a.id, &a.claim)
	if cause := causeOf(err); cause != nil {
		a.cancel(cause)
	}
}

// causeOf returns why a writer must stop, or nil if err is another failure.
func causeOf(err error) error {
	var ended *transcript.EndedError
	switch {
	case errors.As(err, &ended) && ended.State == Stopped:
		return ErrStopped
	case errors.As(err, &ended):
		return ErrEnded
	case errors.Is(err, ErrUnknown), errors.Is(err, ErrFenced), errors.Is(err, transcript.ErrBehind):
		return err
	}
	return nil
}
