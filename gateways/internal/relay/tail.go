package relay

import (
	"context"
	"log/slog"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

// forever is how long a relay waits for Redis. Listeners have their own deadlines.
const forever = 100 * 365 * 24 * time.Hour

// readResult is the result of one read.
type readResult struct {
	entries   []redisio.Entry
	gap       *Gap // before the entries
	restarted bool // the stream was replaced: continue after at
	at        redisio.ID
}

// tail reads the stream for a relay. It starts at the relay's position, so a restart loses nothing.
type tail[T any] struct {
	r      *Relay[T]
	reader *reader.Tail
	last   redisio.ID // all entries up to here were read
	added  int64      // entries ever added when last was the newest; -1: not known
	other  bool       // the stream was replaced
	doubt  bool       // the stream may have been replaced, because the connection broke
}

// Open finds the end of the stream, unless the relay knows it.
func (t *tail[T]) Open(ctx context.Context) error {
	r := t.r
	r.mu.Lock()
	open := r.open
	t.last = r.last
	r.mu.Unlock()
	if !open {
		s, err := t.inspect(ctx)
		if err != nil {
			return t.final(ctx, err)
		}
		t.last = s.top
		if s.counted {
			t.added = s.added
		}
	}
	if err := t.follow(ctx); err != nil {
		return t.final(ctx, err)
	}
	r.opened(t.last)
	return nil
}

// follow starts to read after last.
func (t *tail[T]) follow(ctx context.Context) (err error) {
	cfg := reader.TailConfig{
		Key:      t.r.cfg.Key,
		Start:    redisio.StartID(t.last),
		MaxCount: t.r.cfg.Page,
		Block:    t.r.cfg.Block,
		Wait:     forever,
		OnEvent:  t.event,
	}
	if t.reader, err = reader.NewTail(t.r.server.rdb, cfg); err != nil {
		return flow.Permanent(err)
	}
	return t.r.server.insist(ctx, func() error { return t.reader.Open(ctx) })
}

func (t *tail[T]) event(e redisio.Event) {
	level, attrs := slog.LevelWarn, []any{"key", e.Key}
	switch e.Kind {
	case redisio.EventStreamRecreated:
		t.other = true
	case redisio.EventReconnected:
		t.doubt, level = true, slog.LevelInfo
	}
	if e.Err != nil {
		attrs = append(attrs, "error", e.Err)
	}
	t.r.cfg.Log.Log(context.Background(), level, "relay: "+e.Kind.String(), attrs...)
}

// final ends the listeners if an error is permanent.
func (t *tail[T]) final(ctx context.Context, err error) error {
	if err = t.r.server.refused.Look(err); ctx.Err() == nil && redisio.IsPermanent(err) {
		t.r.fail(err)
		return flow.Permanent(err)
	}
	return err
}

func (t *tail[T]) Close(ctx context.Context) error {
	if t.reader == nil {
		return nil
	}
	return t.reader.Close(ctx)
}

// Read makes one message of all entries of a read.
func (t *tail[T]) Read(ctx context.Context, in *flow.Intake[*readResult]) error {
	var b redisio.Batch
	t.other = false
	if err := t.reader.Read(ctx, t.r.cfg.Page, pageBytes, &b); err != nil {
		return t.final(ctx, err)
	}
	n := &readResult{entries: b.Entries}
	err := t.verify(ctx, n)
	if err != nil {
		return t.final(ctx, err) // nothing was delivered: the entries are read again
	}
	t.r.history.learn(&b)
	if len(n.entries) > 0 {
		t.last = n.entries[len(n.entries)-1].Position
	}
	in.Add(n, flow.Meta{}, b.Bytes)
	return nil
}

// verify checks whether entries are missing before those that were read. It queries the server once
// per read, because a stream that is trimmed to a few entries may lose some between two reads.
func (t *tail[T]) verify(ctx context.Context, n *readResult) error {
	if t.other || t.doubt {
		if done, err := t.compare(ctx, n); done || err != nil {
			return err
		}
	}
	s, err := t.inspect(ctx)
	if err != nil {
		return err
	}
	if missed := t.missed(s, n.entries); missed != 0 {
		n.gap = &Gap{From: t.last.String(), To: n.entries[0].Position.Prev().String(), Missed: missed}
	}
	return nil
}

// missed returns how many entries were trimmed between last and the new ones, or -1 if unknown.
//
// Idea: Redis keeps the number of entries ever added to a stream. If the newest entry is in this
// read, this number yields how many entries are between two known ones. The number of entries
// before the first remaining one is the number of trimmed ones.
func (t *tail[T]) missed(s state, entries []redisio.Entry) int {
	k, first, end := int64(len(entries)), t.added, entries[len(entries)-1].Position
	t.added = -1
	if first >= 0 {
		t.added = first + k
	}
	if s.counted && s.top == end {
		t.added = s.added
	}
	clean := s.deleted.Compare(t.last) <= 0 // no XDEL: the count gives the positions of entries
	switch {
	case !s.trimmed(t.last):
		return 0
	case !s.counted || first < 0 || !clean || s.added < first+k:
		return -1
	case s.top == end:
		return int(s.added - first - k)
	}
	for j := range entries {
		if entries[j].Position == s.first {
			missed := s.added - s.length - int64(j) - first
			if missed < 0 { // XSETID has changed the server's count
				break
			}
			t.added = first + missed + k
			return int(missed)
		}
	}
	t.added = -1
	return -1
}

// inspect is server.inspect with retries.
func (t *tail[T]) inspect(ctx context.Context) (s state, err error) {
	err = t.r.server.insist(ctx, func() (err error) {
		s, err = t.r.server.inspect(ctx)
		return err
	})
	return s, err
}
