package flowtest

import (
	"context"
	"io"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// feedReader is one opened reader of a feed's source.
type feedReader[T any] struct {
	f         *Feeder[T]
	delivered []*delivery[T] // by sequence number
}

type delivery[T any] struct {
	*entry[T]
	attempt int
	settled bool
}

func (r *feedReader[T]) Read(ctx context.Context, in *flow.Intake[T]) error {
	return around(&r.f.mu, &r.f.read, ctx, func() error { return r.read(ctx, in) })
}

func (r *feedReader[T]) read(ctx context.Context, in *flow.Intake[T]) error {
	for {
		changed, wait, err := r.take(in)
		if changed == nil {
			return err
		}
		var timer <-chan time.Time
		if wait > 0 {
			t := time.NewTimer(wait)
			defer t.Stop()
			timer = t.C
		}
		select {
		case <-changed:
		case <-timer:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take adds the entries that are due. If none is due, it returns a channel and a duration to wait
// for.
func (r *feedReader[T]) take(in *flow.Intake[T]) (changed <-chan struct{}, wait time.Duration, err error) {
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	now, rest := time.Now(), f.queue[:0]
	for _, e := range f.queue {
		left := e.due.Sub(now)
		if e.due.IsZero() {
			left = 0
		}
		if left > 0 || in.Room() <= 0 {
			rest = append(rest, e)
			if left > 0 && (wait == 0 || left < wait) {
				wait = left
			}
			continue
		}
		r.add(in, e)
	}
	clear(f.queue[len(rest):])
	f.queue = rest
	switch {
	case f.closed && len(f.queue) == 0:
		return nil, 0, io.EOF
	case in.Len() > 0:
		return nil, 0, nil
	}
	return f.changed, wait, nil
}

func (r *feedReader[T]) add(in *flow.Intake[T], e *entry[T]) {
	f := r.f
	e.attempt++
	meta, size := e.meta, 0
	meta.Attempt = e.attempt
	if f.sizeOf != nil && e.bad == nil {
		size = f.sizeOf(e.value)
	}
	if seq := in.Seq(); seq != uint64(len(r.delivered)) {
		f.problem("feed: the next sequence number is %d, want %d", seq, len(r.delivered))
	}
	if e.bad != nil {
		in.AddBad(meta, size, e.bad)
	} else {
		in.Add(e.value, meta, size)
	}
	r.delivered = append(r.delivered, &delivery[T]{entry: e, attempt: e.attempt})
	f.open++
	f.most = max(f.most, f.open)
	f.change()
}

// Commit records the settlements.
func (r *feedReader[T]) Commit(ctx context.Context, settled []flow.Settlement) error {
	return around(&r.f.mu, &r.f.commit, ctx, func() error { r.settle(settled); return nil })
}

func (r *feedReader[T]) settle(settled []flow.Settlement) {
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range settled {
		if s.Seq >= uint64(len(r.delivered)) {
			f.problem("feed: entry %d was settled and has not been delivered", s.Seq)
			continue
		}
		d := r.delivered[s.Seq]
		if d.settled {
			f.problem(
				"feed: entry %v (id %s, attempt %d) was settled twice, at last %s",
				d.value,
				d.meta.ID,
				d.attempt,
				s.Outcome,
			)
			continue
		}
		if s.ID != d.meta.ID {
			f.problem("feed: entry %d settled with the id %q, want %q", s.Seq, s.ID, d.meta.ID)
		}
		d.settled = true
		f.open--
		rec := Settlement[T]{Value: d.value, Meta: s.Meta(), Attempt: d.attempt, Outcome: s.Outcome, Err: s.Err()}
		if s.Fault != nil {
			rec.After = s.Fault.After
		}
		f.settled = append(f.settled, rec)
		if s.Outcome >= flow.Nacked && d.attempt < f.cfg.deliveries {
			d.due = time.Now().Add(rec.After)
			f.queue = append(f.queue, d.entry)
		}
	}
	f.change()
}
