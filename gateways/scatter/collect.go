package scatter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/gather"
)

// collector is the third stage. It reads the results of gathers that are over.
type collector[T, P, R any] struct {
	cfg   Config[P, R]
	store *gather.Store
}

func (c *collector[T, P, R]) collect(
	ctx context.Context, m flow.Message[origin[T]],
) (out flow.Message[Gathered[T, R]], ok bool, err error) {
	g := Gathered[T, R]{Value: m.Value.value}
	if m.Value.id == "" {
		return flow.Derive(m, g), true, nil
	}
	o, err := c.take(ctx, m.Value)
	if err != nil {
		return out, false, final(err)
	}
	lacks := &IncompleteError{Gather: m.Value.id, How: o.How, Parts: len(o.Parts), Need: o.Need}
	g.Parts = make([]Result[R], len(o.Parts))
	for i, part := range o.Parts {
		r := &g.Parts[i]
		switch {
		case !part.Came:
			r.Err = ErrMissing
			lacks.Missing = append(lacks.Missing, i)
			continue
		case !part.OK:
			r.Err = &PartError{Part: i, Text: string(part.Data)}
		default:
			if r.Value, err = c.decode(part.Data); err != nil {
				r.Err = &PartError{Part: i, Text: short(fmt.Sprintf("decode its result: %v", err))}
			}
		}
		if failed, is := r.Err.(*PartError); is { //nolint:errorlint // it was set above
			lacks.Failed = append(lacks.Failed, failed)
		}
	}
	if len(o.Parts)-len(lacks.Missing)-len(lacks.Failed) < o.Need {
		if !c.cfg.Partial {
			return out, false, flow.Reject(lacks)
		}
		g.err = lacks
	}
	return flow.Derive(m, g), true, nil
}

func (c *collector[T, P, R]) decode(data []byte) (v R, err error) {
	defer flow.Catch(&err)
	return c.cfg.ResultCodec.Decode(data)
}

var (
	errLost   = errors.New("scatter: the server has lost the gather, or parts of it: they must be sent again")
	errBefore = errors.New("scatter: the graph drains before the gather is over")
)

// take waits for the end of the gather's time, if the clocks differ.
func (c *collector[T, P, R]) take(ctx context.Context, o origin[T]) (*gather.Outcome, error) {
	if o.lost {
		return nil, flow.RetryAfter(0, errLost)
	}
	for {
		outcome, left, err := c.store.Take(ctx, o.id)
		if errors.Is(err, gather.ErrUnknown) {
			return nil, flow.RetryAfter(0, errLost)
		}
		if err != nil || outcome != nil {
			return outcome, err
		}
		select {
		case <-flow.DrainStarted(ctx):
			return nil, flow.RetryAfter(0, errBefore)
		default:
		}
		if err := flow.Backoff(ctx, min(left+time.Millisecond, time.Second)); err != nil {
			return nil, err
		}
	}
}
