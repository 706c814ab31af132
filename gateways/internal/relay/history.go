package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

// span is a range of history in one life of the stream: after from, up to and including to, or to
// the end if to is zero.
type span struct {
	from, to redisio.ID
	life     int
}

// page is one read of history.
type page[T any] struct {
	gap   *Gap // before items
	items []record[T]
	end   redisio.ID // where to continue
	more  bool       // the span may have more entries
}

// flights are the reads in flight. Listeners that resume at the same place share a read.
type flights[T any] struct {
	mu    sync.Mutex
	under map[span]*flight[T]
}

type flight[T any] struct {
	done chan struct{} // closed when page and err are set
	page page[T]
	err  error
}

// page reads a page of history, or waits for another caller that reads the same one.
func (r *Relay[T]) page(ctx context.Context, s span) (page[T], error) {
	for {
		r.flights.mu.Lock()
		f := r.flights.under[s]
		leads := f == nil
		if leads {
			f = &flight[T]{done: make(chan struct{})}
			r.flights.under[s] = f
		}
		r.flights.mu.Unlock()
		if leads {
			f.page, f.err = r.read(ctx, s)
			if f.err == nil {
				r.refused.Worked()
			}
			f.err = r.refused.Look(f.err) // the reader of a page has had no success before
			r.flights.mu.Lock()
			delete(r.flights.under, s)
			r.flights.mu.Unlock()
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

func (r *Relay[T]) read(ctx context.Context, s span) (p page[T], err error) {
	if err := r.enter(ctx); err != nil {
		return p, err
	}
	defer r.leave()
	count := r.ask()
	reader, err := reader.NewRange(
		r.rdb,
		reader.RangeConfig{Key: r.cfg.Key, From: s.from.Next(), To: s.to, MaxCount: count,
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
	st, err := r.inspect(ctx)
	if err != nil {
		return p, err
	}
	r.pages.Add(1)
	r.learn(&b)
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
	p.items = r.records(b.Entries)
	return p, nil
}

// ask returns how many entries to request.
func (r *Relay[T]) ask() int {
	size := r.size.Load()
	if size == 0 {
		return min(16, r.cfg.Page) // they may be large
	}
	return max(1, min(r.cfg.Page, int(pageBytes/size)))
}

// learn updates the estimated size of an entry: up at once, down slowly.
func (r *Relay[T]) learn(b *redisio.Batch) {
	if n := len(b.Entries); n > 0 {
		size, was := int64(b.Bytes/n)+1, r.size.Load()
		r.size.Store(max(size, was-was/10))
	}
}

// records decodes entries and skips those that cannot be decoded.
func (r *Relay[T]) records(entries []redisio.Entry) []record[T] {
	list := make([]record[T], 0, len(entries))
	for i := range entries {
		e := &entries[i]
		v, topics, err := r.decode(e)
		if err != nil {
			if n := r.skipped.Add(1); n&(n-1) == 0 { // log the 1st, 2nd, 4th, 8th …
				r.cfg.Log.Warn(
					"relay: cannot decode entry",
					"key",
					r.cfg.Key,
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

func (r *Relay[T]) decode(e *redisio.Entry) (v T, topics []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("relay: Decode panicked: %v", p)
		}
	}()
	return r.cfg.Decode(e)
}
