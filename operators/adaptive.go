package operators

import (
	"context"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// BatchAdaptive is Batch with a size that it finds itself. It is the largest size with which a
// value is done within goal. Half of goal is for gathering: a batch is passed on when its first
// value is that old. The other half is for the stages behind it. The size grows from 1 to at
// most most while they need less than that for a full batch, and is halved when they need more.
// The time of a batch begins when the batch before has ended, or when it is passed on if that is
// later. It ends when all that was made of the batch is done.
//
// If even a batch of one takes longer, the size is 1 and the goal is missed. Choose a goal of
// several times what a call costs by itself. The size starts at 1 again when the stage is restarted.
//
//	in   --1--2--3--4--5--6--7--8--|
//	out  --1-----(23)--------(4567)--8|
//
// Order: kept, within batches and between them. Acks: an entry is acked when its batch is.
// Holds: up to most messages, for up to half of goal. Ends: when in ends, with a last batch of what is left.
func BatchAdaptive[T any](
	in flow.Source[T], most int, goal time.Duration, opts ...flow.StageOption,
) flow.Source[[]T] {
	return flow.Via(in, "batch-adaptive", func() flow.Handler[T, []T] {
		a := &adaptive[T]{size: sizing{n: 1, most: most, goal: goal / 2}}
		a.within = goal / 2
		a.watcher = flow.NewWatcher(func(_ context.Context, ends []flow.End) error {
			a.size.ended(time.Now(), ends)
			return nil
		})
		return a
	}, with(opts, atLeastOne("most", most, "values in a batch"), positive("goal", goal), flow.Async(),
		flow.Traits{Holds: max(most, 0), HoldsFor: max(goal/2, 0), Joins: true, OneWorker: ownBatches})...)
}

// adaptive is a batch of adaptive size.
type adaptive[T any] struct {
	batch[T]
	size    sizing
	watcher *flow.Watcher
}

func (a *adaptive[T]) Handle(ctx context.Context, m flow.Message[T], emit flow.Emit[[]T]) error {
	a.add(ctx, m)
	if len(a.held) >= a.size.now() {
		a.send(ctx, emit)
	}
	return nil
}

func (a *adaptive[T]) send(ctx context.Context, emit flow.Emit[[]T]) {
	s := sentBatch{n: len(a.held), at: time.Now()}
	m, _ := flow.Watch(ctx, a.take(ctx), a.watcher, s)
	emit(m)
}

func (a *adaptive[T]) Ring(ctx context.Context, emit flow.Emit[[]T]) error {
	a.send(ctx, emit)
	return nil
}

func (a *adaptive[T]) End(ctx context.Context, emit flow.Emit[[]T]) error {
	if len(a.held) > 0 {
		a.send(ctx, emit)
	}
	return nil
}

// sentBatch is the tag of a watched batch.
type sentBatch struct {
	n  int
	at time.Time
}

// sizing finds the size of batches.
//
// Idea: additive increase and multiplicative decrease, as in TCP (Chiu and Jain 1989). Until the
// first decrease the size doubles, as in TCP's slow start. Batches that were sent before a decrease
// do not cause another.
type sizing struct {
	most int
	goal time.Duration

	mu    sync.Mutex // guards the fields below: the watcher runs on a goroutine of the graph
	n     int
	found bool      // the size has been decreased once
	last  time.Time // when the last batch ended
}

// now returns the current size.
func (s *sizing) now() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// ended adapts the size to the times of batches that have ended.
func (s *sizing) ended(now time.Time, ends []flow.End) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range ends {
		sent := e.Tag.(sentBatch)
		began := sent.at
		if s.last.After(began) {
			began = s.last
		}
		s.last = now
		switch slow := now.Sub(began) > s.goal; {
		case slow && sent.n <= s.n:
			s.n, s.found = max(1, sent.n/2), true
		case slow || sent.n < s.n: // it was sent with an earlier size, or was not full
		case s.found:
			s.n = min(s.most, s.n+max(1, s.n/8))
		default:
			s.n = min(s.most, 2*s.n)
		}
	}
}
