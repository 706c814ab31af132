package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

// pageRange is a range of history in one epoch of the stream: after from, up to and including to, or to
// the end if to is zero.
type pageRange struct {
	from, to redisio.ID
	epoch    int
}

// page is one read of history.
type page[T any] struct {
	gap   *Gap // before items
	items []record[T]
	end   redisio.ID // where to continue
	more  bool       // the range may have more entries
}

// shared are the reads in flight. Listeners that resume at the same place share a read.
type shared[T any] struct {
	mu    sync.Mutex
	under map[pageRange]*sharedRead[T]
}

type sharedRead[T any] struct {
	done chan struct{} // closed when page and err are set
	page page[T]
	err  error
}

// history reads pages of the stream for listeners that are behind.
type history[T any] struct {
	cfg    *Config[T]
	server *server
	size   atomic.Int64 // estimated size of an entry, from the larger ones
	shared shared[T]

	skipped, pages atomic.Int64
}

// page reads a page of history, or waits for another caller that reads the same one.
func (h *history[T]) page(ctx context.Context, s pageRange) (page[T], error) {
	for {
		h.shared.mu.Lock()
		f := h.shared.under[s]
		leads := f == nil
		if leads {
			f = &sharedRead[T]{done: make(chan struct{})}
			h.shared.under[s] = f
		}
		h.shared.mu.Unlock()
		if leads {
			f.page, f.err = h.read(ctx, s)
			if f.err == nil {
				h.server.refused.Worked()
			}
			f.err = h.server.refused.Look(f.err) // the reader of a page has had no success before
			h.shared.mu.Lock()
			delete(h.shared.under, s)
			h.shared.mu.Unlock()
			close(f.done)
			return f.page, f.err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return page[T]{}, context.Cause(ctx)
		}
		if f.err == nil || redisio.IsPermanent(f.err) {
			return f.page, f.err
		} // the other caller's context may have ended
		if err := ctx.Err(); err != nil {
			return page[T]{}, context.Cause(ctx)
		}
	}
}

// enter waits until another read of history may start. leave ends the read.
func (h *history[T]) enter(ctx context.Context) error {
	select {
	case h.cfg.Reads <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (h *history[T]) leave() { <-h.cfg.Reads }

func (h *history[T]) read(ctx context.Context, s pageRange) (p page[T], err error) {
	if err := h.enter(ctx); err != nil {
		return p, err
	}
	defer h.leave()
	count := h.ask()
	reader, err := reader.NewRange(
		h.server.rdb,
		reader.RangeConfig{Key: h.cfg.Key, From: s.from.Next(), To: s.to, MaxCount: count,
			EntrySize: int(pageBytes) / count},
	)
	if err != nil {
		return p, err
	}
	if err := reader.Open(ctx); err != nil {
		return p, err
	}
	var b redisio.Batch
	if err := reader.Read(ctx, count, pageBytes, &b); err != nil && !errors.Is(err, io.EOF) {
		return p, err
	}
	// The state is read after the page: if the stream then begins before the page, nothing of it
	// was trimmed.
	st, err := h.server.inspect(ctx)
	if err != nil {
		return p, err
	}
	h.pages.Add(1)
	h.learn(&b)
	p.end, p.more = s.from, reader.More()
	if n := len(b.Entries); n > 0 {
		p.end = b.Entries[n-1].Position
	}
	if st.trimmed(s.from) {
		to := st.top
		if len(b.Entries) > 0 {
			to = b.Entries[0].Position.Prev()
		} else if !st.first.IsZero() {
			to = st.first.Prev()
		}
		if !s.to.IsZero() && to.Compare(s.to) > 0 {
			to = s.to
		}
		if to.Compare(s.from) > 0 {
			p.gap = &Gap{From: s.from.String(), To: to.String(), Missed: -1}
			if p.end.Compare(to) < 0 {
				p.end = to
			}
		}
	}
	if !s.to.IsZero() && !p.more {
		p.end = s.to
	}
	p.items = h.records(b.Entries)
	return p, nil
}

// ask returns how many entries to request.
func (h *history[T]) ask() int {
	size := h.size.Load()
	if size == 0 {
		return min(16, h.cfg.Page) // they may be large
	}
	return max(1, min(h.cfg.Page, int(pageBytes/size)))
}

// learn updates the estimated size of an entry: up at once, down slowly.
func (h *history[T]) learn(b *redisio.Batch) {
	if n := len(b.Entries); n > 0 {
		size, was := int64(b.Bytes/n)+1, h.size.Load()
		h.size.Store(max(size, was-was/10))
	}
}

// records decodes entries and skips those that cannot be decoded.
func (h *history[T]) records(entries []redisio.Entry) []record[T] {
	list := make([]record[T], 0, len(entries))
	for i := range entries {
		e := &entries[i]
		v, topics, err := h.decode(e)
		if err != nil {
			if n := h.skipped.Add(1); n&(n-1) == 0 { // log the 1st, 2nd, 4th, 8th …
				h.cfg.Log.Warn(
					"relay: cannot decode entry",
					"key",
					h.cfg.Key,
					"id",
					e.ID,
					"skipped",
					n,
					"error",
					err,
				)
			}
			continue
		}
		list = append(
			list,
			record[T]{Item[T]{Cursor: strings.Clone(e.ID), Value: v, id: e.Position}, topics, e.Fields.Size(), sum(e)},
		)
	}
	return list
}

func (h *history[T]) decode(e *redisio.Entry) (v T, topics []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("relay: Decode panicked: %v", p)
		}
	}()
	return h.cfg.Decode(e)
}
