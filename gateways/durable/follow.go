package durable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/gateways/internal/wait"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/transcript"
)

// Item is a value of a reply, or a reset.
type Item[T any] struct {
	Cursor string // follow from here to receive the items after this one
	Value  T
	Reset  bool // all values before are void, and Value is not set
}

// TrimmedError reports values that were deleted before the follower has read them, or a cursor that
// is not of this reply. A loop over Follow may continue after it: the next item is the oldest one
// that is kept.
type TrimmedError struct {
	From, To string // the cursor, and the one before the next item
	Missed   int64  // how many values or resets are missing; -1 if unknown
}

func (e *TrimmedError) Error() string {
	if e.Missed < 0 {
		return fmt.Sprintf("durable: cursor %.50q is not of this reply", e.From)
	}
	return fmt.Sprintf("durable: %d values after cursor %.50q were trimmed", e.Missed, e.From)
}

// CursorError reports text that is no cursor.
type CursorError struct{ Cursor string }

func (e *CursorError) Error() string {
	return fmt.Sprintf("durable: invalid cursor %.50q: use one that came with an item", e.Cursor)
}

// Follow returns the items of a reply after a cursor, and then live ones until the reply ends. "" is
// the beginning. The sequence ends when the reply is done. An error is its last element:
// ErrStopped, the *gateways.RemoteError of a failed reply, ErrUnknown, *CursorError, ErrBusy,
// ErrClosed, or the cause of ctx. Only after a *TrimmedError the sequence goes on. While Redis is
// unavailable, it waits.
func Follow[T any](ctx context.Context, r *Replies, id, cursor string) iter.Seq2[Item[T], error] {
	codec := redisio.DefaultCodec[T]()
	return func(yield func(Item[T], error) bool) {
		f, err := r.follow(ctx, id, cursor)
		if err != nil {
			yield(Item[T]{}, err)
			return
		}
		defer f.close()
		for {
			items, err := f.next(ctx)
			for _, it := range items {
				item, err := itemOf(f, codec, it)
				if !yield(item, err) || err != nil && it.gap == nil {
					return
				}
			}
			switch {
			case err == io.EOF && endError(f.end) == nil:
				return
			case err == io.EOF:
				err = endError(f.end)
			case err == nil:
				continue
			}
			yield(Item[T]{}, err)
			return
		}
	}
}

func itemOf[T any](f *follower, codec redisio.Codec[T], it event) (item Item[T], err error) {
	if it.gap != nil {
		return item, it.gap
	}
	item.Cursor, item.Reset = it.entry.ID.String(), it.entry.Reset
	if item.Reset {
		return item, nil
	}
	item.Value, err = wire.DecodeBody(codec, it.entry.Data, f.info.ContentType)
	return item, err
}

// endError returns the error that a reply ended with.
func endError(end transcript.End) error {
	switch end.State {
	case Stopped:
		return ErrStopped
	case Failed:
		return &gateways.RemoteError{Code: gateways.Code(end.Code), Message: end.Message}
	}
	return nil
}

// event is an entry that is neither missing nor the end, or a gap.
type event struct {
	entry transcript.Entry
	gap   *TrimmedError
}

// follower reads a reply. It reads pages until it has caught up, and then listens to the live
// entries that this process reads for all followers.
type follower struct {
	r     *Replies
	id    string
	info  transcript.Info
	at    redisio.ID // all entries up to here were returned
	first *TrimmedError
	live  bool          // caught up, so the next read listens
	idle  time.Duration // how long next waits for events
	end   transcript.End
	l     *relay.Listener[transcript.Entry]
}

// follow begins after a cursor.
func (r *Replies) follow(ctx context.Context, id, cursor string) (*follower, error) {
	if r.err != nil {
		return nil, r.err
	}
	var at redisio.ID
	if cursor != "" {
		var err error
		if at, err = redisio.ParseID(cursor); err != nil {
			return nil, &CursorError{cursor}
		}
	}
	info, err := r.store.Info(ctx, id)
	if err != nil {
		return nil, err
	}
	f := &follower{r: r, id: id, info: info, at: at, idle: r.quiet}
	most := info.Last.Seq
	if info.State != Open {
		most++ // the end
	}
	switch {
	case at.IsZero():
		f.at = info.Base
	case at.Ms != info.Base.Ms: // of another reply
		f.first = &TrimmedError{From: cursor, To: info.Base.String(), Missed: -1}
		f.at = info.Base
	case at.Seq > most: // lost by a failover
		f.first = &TrimmedError{From: cursor, To: info.Last.String(), Missed: -1}
		f.at = info.Last
	}
	return f, nil
}

func (f *follower) close() {
	if f.l != nil {
		f.l.Close()
		f.l = nil
	}
}

// next returns the next events, or none if nothing has happened for a while. The error io.EOF is the
// end of the reply; events may come with it.
func (f *follower) next(ctx context.Context) ([]event, error) {
	if f.first != nil {
		gap := f.first
		f.first = nil
		return []event{{gap: gap}}, nil
	}
	for {
		switch {
		case f.end.State != "":
			return nil, io.EOF
		case !f.live:
			events, err := f.page(ctx)
			if passes(err) {
				if !wait.For(ctx, retryEvery) {
					return nil, context.Cause(ctx)
				}
				return nil, nil
			}
			if len(events) > 0 || err != nil {
				return events, err
			}
		case f.l == nil:
			if err := f.listen(ctx); err != nil || f.l == nil {
				return nil, err
			}
		default:
			b, err := f.l.Next(ctx)
			if err != nil {
				return nil, f.failed(err)
			}
			if len(b.Items) == 0 && b.Gap == nil {
				return nil, f.check(ctx)
			}
			entries := make([]transcript.Entry, len(b.Items))
			for i := range b.Items {
				entries[i] = b.Items[i].Value
			}
			if events, err := f.accept(entries); len(events) > 0 || err != nil {
				return events, err
			}
		}
	}
}

// passes reports whether an error of Redis may pass.
func passes(err error) bool {
	return err != nil && err != io.EOF && !errors.Is(err, ErrUnknown) && !redisio.IsPermanent(err)
}

const retryEvery = 500 * time.Millisecond

func (f *follower) failed(err error) error {
	if errors.Is(err, relay.ErrClosed) {
		return ErrClosed
	}
	return err
}

// pageLen is how many entries one read returns: 256, or fewer large ones.
func pageLen(i transcript.Info) int {
	const most, mostBytes = 256, 256 << 10
	if i.Bytes <= mostBytes {
		return most
	}
	kept := int64(i.Last.Seq) - int64(i.First.Seq) + 1
	return int(max(1, min(most, mostBytes*kept/i.Bytes)))
}

// page reads entries directly.
func (f *follower) page(ctx context.Context) ([]event, error) {
	page, err := f.r.store.Page(ctx, f.id, f.at, pageLen(f.info))
	if err != nil {
		return nil, err
	}
	if page.Info.Base != f.info.Base { // deleted, and made again
		return nil, ErrUnknown
	}
	f.info = page.Info
	events, err := f.accept(page.Entries)
	if page.UpToDate && err == nil {
		if missed := int64(f.info.Last.Seq) - int64(f.at.Seq); missed > 0 { // Redis has lost the stream
			gap := &TrimmedError{From: f.at.String(), To: f.info.Last.String(), Missed: missed}
			events, f.at = append(events, event{gap: gap}), f.info.Last
		}
		f.live = page.Info.State == Open
		if !f.live {
			f.end, err = page.Info.End, io.EOF
		}
	}
	return events, err
}

func (f *follower) listen(ctx context.Context) error {
	from := f.at.String()
	if f.at.Seq == 0 {
		from = "0"
	}
	limited, cancel := context.WithTimeout(ctx, quietAfter)
	defer cancel()
	l, err := f.r.pool.Listen(limited, f.r.store.StreamKey(f.id), relay.Options{From: from, All: true,
		Idle: f.idle})
	switch {
	case errors.Is(err, relay.ErrTooManyStreams):
		return ErrBusy
	case err != nil && ctx.Err() == nil && limited.Err() != nil:
		return nil // Redis is unavailable: try again
	case err != nil:
		return f.failed(err)
	}
	f.l = l
	return nil
}

// accept returns the events of entries that follow.
func (f *follower) accept(entries []transcript.Entry) (events []event, err error) {
	for _, e := range entries {
		switch {
		case e.ID.Ms != f.info.Base.Ms: // of a reply that was made again under this ID
			return events, ErrUnknown
		case e.ID.Compare(f.at) <= 0:
			continue
		}
		if missed := e.ID.Seq - f.at.Seq - 1; missed > 0 && !e.Reset {
			gap := &TrimmedError{From: f.at.String(), To: e.ID.Prev().String(), Missed: int64(missed)}
			events = append(events, event{gap: gap})
		}
		f.at = e.ID
		if e.End != nil {
			f.end = *e.End
			return events, io.EOF
		}
		events = append(events, event{entry: e})
	}
	return events, nil
}

// check verifies that a silent reply still exists.
func (f *follower) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, quietAfter)
	defer cancel()
	info, err := f.r.store.Info(ctx, f.id)
	switch {
	case errors.Is(err, ErrUnknown), err == nil && info.Base != f.info.Base:
		return ErrUnknown
	case err == nil && (info.State != Open || info.Last.Compare(f.at) > 0):
		f.live = false // read it directly, whatever the listener has missed
		f.close()
	}
	return nil // Redis may be unavailable: go on
}

// patience bounds what a handler asks of Redis.
const patience = 10 * time.Second
