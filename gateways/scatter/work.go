package scatter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/gather"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// ErrTimeOver is the cause of the context of a worker's function after the time of its origin is
// over.
var ErrTimeOver = errors.New("scatter: the time of the origin is over")

// Work is a branch that works on parts, in any number of processes. f is called with each part, and
// its result goes to the origin. With flow.Workers(n) it is called on n goroutines at once, and with
// flow.Unordered a slow part does not delay parts far behind it; the options apply to the stage that
// calls f. The context of f ends with the time of the origin, Config.Within. If the origin has its
// outcome before, calls that run are not cancelled, and their results are dropped.
//
// If f returns an error or panics, the part is delivered again after a growing delay, up to
// Config.Attempts times. Then the part has failed, and its origin receives the error. With
// flow.Reject it fails at once, and with flow.RetryAfter f chooses the delay. If the origin has its
// outcome already, the part is dropped without a call of f.
func Work[P, R any](
	rdb redis.UniversalClient, cfg Config[P, R], f func(context.Context, P) (R, error), opts ...flow.StageOption,
) flow.Branch {
	cfg, store, err := cfg.open(rdb)
	w := &worker[P, R]{cfg: cfg, store: store, f: f}
	own := []flow.StageOption{flow.InvalidError(err)}
	if f == nil {
		own = append(own, flow.Invalid("f", "the function is nil", "give a function"))
	}
	parts := source.Stream(rdb, source.StreamConfig[[]byte]{
		Key: cfg.store().Parts(), Group: group, Tuning: cfg.Tuning,
		MaxDeliveries: cfg.Attempts + 8, // which fails the part before
	}, flow.DefaultName("parts"))
	done := flow.Step(parts, "work", func() flow.StepFunc[[]byte, struct{}] {
		return func(ctx context.Context, m flow.Message[[]byte]) (none flow.Message[struct{}], ok bool, err error) {
			return none, false, w.do(ctx, m)
		}
	}, slices.Concat(own, opts)...)
	return flow.To(done, sink.Discard[struct{}](flow.DefaultName("done")))
}

// worker is the running part of Work.
type worker[P, R any] struct {
	cfg   Config[P, R]
	store *gather.Store
	f     func(context.Context, P) (R, error)
}

var errNoPart = errors.New("scatter: the entry is not a part: its id names no gather")

// do works on one part. An error of it decides on the entry: nil means that the result is in the
// gather.
func (w *worker[P, R]) do(ctx context.Context, m flow.Message[[]byte]) error {
	id, part, ok := gather.ParsePartID(m.Meta().MessageID)
	if !ok {
		return flow.Reject(errNoPart)
	}
	wanted, left, err := w.store.Begin(ctx, id, part)
	if err != nil || !wanted {
		return late(err)
	}
	call, cancel := context.WithTimeoutCause(ctx, left, ErrTimeOver)
	defer cancel()
	result, err := w.work(call, m)
	if err == nil && len(result) > w.cfg.MaxResult {
		err = flow.Reject(&gather.TooLargeError{What: "the result in bytes", Size: len(result), Limit: w.cfg.MaxResult})
	}
	if err != nil {
		switch again := w.again(m.Attempt(), err); {
		case ctx.Err() != nil: // the entry was lost, or the graph stops
			return err
		case call.Err() != nil:
			return late(gather.ErrOver)
		case again != nil:
			return again
		}
		result = []byte(short(err.Error()))
	}
	_, putErr := w.store.Put(ctx, id, part, err == nil, result)
	return late(putErr)
}

// work decodes the part, calls f and encodes its result.
func (w *worker[P, R]) work(ctx context.Context, m flow.Message[[]byte]) (result []byte, err error) {
	defer flow.Catch(&err)
	if m.Attempt() > w.cfg.Attempts {
		return nil, fmt.Errorf("its workers have ended %d times before it was done", w.cfg.Attempts)
	}
	p, err := w.cfg.PartCodec.Decode(m.Value)
	if err != nil {
		return nil, flow.Reject(err)
	}
	r, err := w.f(ctx, p)
	if err != nil {
		return nil, err
	}
	if result, err = w.cfg.ResultCodec.Append(nil, r); err != nil {
		return nil, flow.Reject(err)
	}
	return result, nil
}

// again returns the verdict for another delivery of a part that has failed, or nil for none. A
// permanent error stops the graph.
func (w *worker[P, R]) again(attempt int, err error) error {
	v, is := flow.Verdict(err)
	switch {
	case flow.IsPermanent(err):
		return err
	case is && v.Do != flow.ActNack || attempt >= w.cfg.Attempts:
		return nil
	case is:
		return err
	}
	return flow.RetryAfter(min(time.Second<<min(attempt-1, 6), time.Minute), err)
}

// late drops a part that its origin does not wait for.
func late(err error) error {
	if errors.Is(err, gather.ErrUnknown) || errors.Is(err, gather.ErrOver) {
		return flow.Skip
	}
	return final(err)
}

// short limits the text of an error.
func short(text string) string {
	const most = 1 << 10
	return text[:min(len(text), most)]
}
