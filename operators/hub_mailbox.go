package operators

import (
	"cmp"
	"context"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// mailbox is the queue of one subscriber. All fields but news are guarded by the hub's mu.
type mailbox[T any] struct {
	hub     *hub[T]
	id      uint64
	puts    uint64 // number of messages put in so far
	room    int    // most messages in waiting when another is put in; 0: no limit
	waiting []parcel[T]
	delayed []parcel[T]     // delivered again when due
	reading int             // messages that consumers have read and not settled
	over    error           // why nothing is put in any more; nil while attached
	left    func(parcel[T]) // receives, with mu held, what is not delivered when the subscriber leaves
	news    chan struct{}
}

func (b *mailbox[T]) full() bool { return b.room > 0 && len(b.waiting) >= b.room }

func (b *mailbox[T]) put(p parcel[T]) {
	b.puts++
	p.number = b.puts
	b.waiting = append(b.waiting, p)
	b.wake()
}

// later delivers a message when it is due.
func (b *mailbox[T]) later(p parcel[T]) {
	if b.over != nil {
		b.left(p)
		return
	}
	b.delayed = append(b.delayed, p)
	b.wake()
}

// wake makes one reader look.
func (b *mailbox[T]) wake() {
	select {
	case b.news <- struct{}{}:
	default:
	}
}

// source makes a source that reads the mailbox.
func (b *mailbox[T]) source(name string, opts []flow.StageOption, own ...flow.StageOption) flow.Source[T] {
	return flow.NewSource(name, func() flow.Reader[T] {
		return &hubReader[T]{box: b, taken: make(map[uint64]parcel[T])}
	}, with(opts, own...)...)
}

// hubReader reads a mailbox for one life of a source.
type hubReader[T any] struct {
	box   *mailbox[T]
	taken map[uint64]parcel[T] // not settled; guarded by the hub's mu
}

// Read takes messages out of the mailbox.
func (r *hubReader[T]) Read(ctx context.Context, in *flow.Intake[T]) error {
	for {
		next, err := r.take(in)
		if in.Len() > 0 || err != nil {
			return err
		}
		var due <-chan time.Time
		if !next.IsZero() {
			timer := time.NewTimer(time.Until(next))
			defer timer.Stop()
			due = timer.C
		}
		select {
		case <-r.box.news:
		case <-due:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take adds what is ready, and returns when to look again without news; zero: never.
func (r *hubReader[T]) take(in *flow.Intake[T]) (next time.Time, err error) {
	b := r.box
	h := b.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	next = b.ripen()
	n := 0
	for ; n < len(b.waiting) && in.Room() > 0; n++ {
		p := b.waiting[n]
		if p.void() {
			continue
		}
		r.taken[in.Seq()] = p
		b.reading++
		in.Add(p.value, *p.meta, 0)
	}
	if n > 0 {
		b.waiting = slices.Delete(b.waiting, 0, n)
		h.change()
	}
	if len(b.waiting) > 0 {
		b.wake() // for another reader, or for this one's next call
	}
	switch {
	case b.over != nil && b.over != io.EOF:
		err = flow.Permanent(b.over)
	case (h.closed || b.over != nil) && len(b.waiting) == 0 && len(b.delayed) == 0 && b.reading == 0:
		err = io.EOF
		b.wake() // other readers end too
	}
	return next, err
}

// ripen makes the messages that are due wait to be read, and returns when the next is due. The
// caller holds the hub's mu.
func (b *mailbox[T]) ripen() (next time.Time) {
	if len(b.delayed) == 0 {
		return next
	}
	now := time.Now()
	b.delayed = slices.DeleteFunc(b.delayed, func(p parcel[T]) bool {
		if !p.due.After(now) {
			b.waiting = append(b.waiting, p)
			return true
		}
		if next.IsZero() || p.due.Before(next) {
			next = p.due
		}
		return false
	})
	return next
}

// Commit settles the messages with their producers. Unfinished ones are read again.
func (r *hubReader[T]) Commit(ctx context.Context, settled []flow.Settlement) error {
	b := r.box
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	var unfinished []parcel[T]
	for i := range settled {
		s := settled[i]
		p, taken := r.taken[s.Seq]
		if !taken {
			continue
		}
		delete(r.taken, s.Seq)
		b.reading--
		back := s.Outcome >= flow.Nacked
		switch {
		case back && s.Fault == nil:
			unfinished = append(unfinished, p)
			continue
		case back && (p.receipt == nil || b.over != nil):
			b.later(p.again(s.Fault.After))
			continue
		case s.Outcome >= flow.Dead && p.receipt != nil:
			p.receipt.failed = append(p.receipt.failed, returned[T]{b, p})
		}
		if p.receipt != nil {
			p.receipt.settle(ctx, s)
		}
	}
	b.restore(unfinished)
	b.wake() // the end may be reached
	return nil
}

// restore puts messages back that were read and not finished. The caller holds the hub's mu.
func (b *mailbox[T]) restore(unfinished []parcel[T]) {
	if b.over == nil {
		b.waiting = append(b.waiting, unfinished...)
		slices.SortStableFunc(b.waiting, func(p, q parcel[T]) int { return cmp.Compare(p.number, q.number) })
		return
	}
	for _, p := range unfinished {
		b.left(p)
	}
}

// Close restores what a graph has not settled by its end.
func (r *hubReader[T]) Close(context.Context) error {
	b := r.box
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	var unfinished []parcel[T]
	for _, seq := range slices.Sorted(maps.Keys(r.taken)) {
		unfinished = append(unfinished, r.taken[seq])
		b.reading--
	}
	clear(r.taken)
	b.restore(unfinished)
	b.wake()
	return nil
}
