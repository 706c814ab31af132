package scatter

import (
	"context"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio/gather"
)

// waiting is the second stage. It holds the origins of open gathers.
//
// Idea: a worker that closes a gather writes a notice. An origin that arrives after its notice would
// wait in vain. So after each chunk of origins the stage asks for their states, when it already reads
// the notices. It asks for all states after the reader of notices has started or lost its connection,
// and every five seconds, in case notices were trimmed. A failover of the server may lose its last
// writes: then a gather is gone, or lacks parts that were sent.
type waiting[T any] struct {
	store *gather.Store
	most  int

	held    map[string][]held[T] // by gather
	n       int                  // origins in held
	unasked []string             // gathers without a request for their state
	askAll  bool
	askAt   time.Time // when to ask for all
	due     time.Time // when the first gather is over
}

type held[T any] struct{ flow.Held[origin[T]] }

const (
	askEvery = 5 * time.Second
	askMost  = 500 // gathers in one pipeline
)

// Left holds an origin, unless its gather is over.
func (w *waiting[T]) Left(ctx context.Context, m flow.Message[origin[T]], emit flow.Emit[origin[T]]) error {
	if m.Value.over {
		emit(m)
		return nil
	}
	if w.n == 0 {
		w.askAt, w.due = time.Now().Add(askEvery), m.Value.until
	}
	id := m.Value.id
	w.held[id] = append(w.held[id], held[T]{flow.Hold(ctx, m)})
	w.unasked = append(w.unasked, id)
	w.n++
	if m.Value.until.Before(w.due) {
		w.due = m.Value.until
	}
	return nil
}

// Right releases the origins of a gather that has closed.
func (w *waiting[T]) Right(_ context.Context, m flow.Message[note], emit flow.Emit[origin[T]]) error {
	if m.Value.id == "" {
		w.askAll = true
		return nil
	}
	w.release(m.Value.id, false, emit)
	return nil
}

func (w *waiting[T]) release(id string, lost bool, emit flow.Emit[origin[T]]) {
	for _, h := range w.held[id] {
		o := h.Value
		o.over, o.lost = true, lost
		emit(flow.Derive(h.Message, o))
		h.Done()
		w.n--
	}
	delete(w.held, id)
}

var (
	both       = []int{1, 0}
	noticeOnly = []int{1}
)

// Pick reads notices first. It reads no origins while as many as allowed wait. Without origins the
// stage is finished.
func (w *waiting[T]) Pick(open []bool) []int {
	switch {
	case !open[0] && w.n == 0:
		return nil
	case w.n >= w.most:
		return noticeOnly
	}
	return both
}

// Next implements flow.Alarm.
func (w *waiting[T]) Next() time.Time {
	switch {
	case w.n == 0:
		return time.Time{}
	case w.askAll || len(w.unasked) > 0:
		return time.Unix(0, 0)
	case w.due.Before(w.askAt):
		return w.due
	}
	return w.askAt
}

// Ring asks for states, and releases the origins of gathers that have no time left.
func (w *waiting[T]) Ring(ctx context.Context, emit flow.Emit[origin[T]]) error {
	now := time.Now()
	if w.askAll || !now.Before(w.askAt) {
		w.unasked = w.unasked[:0]
		for id := range w.held {
			w.unasked = append(w.unasked, id)
		}
		w.askAll, w.askAt = false, now.Add(askEvery)
	}
	err := w.ask(ctx, emit)
	w.due = now.Add(24 * time.Hour)
	for id, all := range w.held {
		for _, h := range all {
			if !h.Value.until.After(now) {
				w.release(id, false, emit)
				break
			}
			if h.Value.until.Before(w.due) {
				w.due = h.Value.until
			}
		}
	}
	return err
}

// ask releases the origins of gathers that are not open any more, or that were lost. All parts of a
// gather were sent before its origin came here.
func (w *waiting[T]) ask(ctx context.Context, emit flow.Emit[origin[T]]) error {
	ids := w.unasked
	w.unasked = w.unasked[:0:0]
	for len(ids) > 0 {
		some := ids[:min(len(ids), askMost)]
		ids = ids[len(some):]
		states, err := w.store.States(ctx, some...)
		if err != nil {
			if err = final(err); ctx.Err() != nil || flow.IsPermanent(err) {
				return err
			}
			flow.Logger(ctx).Warn("scatter: cannot look at the gathers, will try again", "error", err)
			return nil
		}
		for i, state := range states {
			if state != gather.Open {
				w.release(some[i], state != gather.Over, emit)
			}
		}
	}
	return nil
}

// End gives the origins back: another process waits for their gathers. It waits for those that
// cannot go back.
func (w *waiting[T]) End(ctx context.Context, emit flow.Emit[origin[T]]) error {
	for id, all := range w.held {
		kept := all[:0]
		for _, h := range all {
			if h.CanGoBack() {
				h.GiveBack()
				w.n--
				continue
			}
			kept = append(kept, h)
		}
		if w.held[id] = kept; len(kept) == 0 {
			delete(w.held, id)
		}
	}
	for w.n > 0 {
		w.askAll = true
		if err := w.Ring(ctx, emit); err != nil || w.n == 0 {
			return err
		}
		if err := flow.Sleep(ctx, noticeBlock); err != nil {
			return err
		}
	}
	return nil
}
