package redisio

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/redis/go-redis/v9"
)

// Idea of this file: COUNT says nothing of bytes, and the next entries may be a thousand times
// larger than all before. So a read that has a bound in bytes stops at twice the bound, once one
// whole entry has arrived, and drops the connection. A group has delivered the rest as well: it is
// pending for the reader, which takes it next, fewer entries at a time. Other readers ask for it
// again. The bound holds for the memory of this process. The server has made the whole reply.

// errFront comes with the front of a reply that was longer than its limit.
var errFront = errors.New("redisio: only the front of the reply was taken")

// leastFront is a limit that is always fine: a wire keeps a buffer of that size anyhow.
const leastFront = maxKept

// limit bounds one reply. The zero value is no bound.
type limit struct {
	bytes   int
	streams bool // the reply is one of XREAD or XREADGROUP, else a list of entries
}

// limitFor is the limit of a read that asks for count entries with maxBytes. It returns 0 for a single entry.
func limitFor(count int, maxBytes int64) int {
	if count <= 1 || maxBytes <= 0 || maxBytes >= maxReply {
		return 0
	}
	return max(2*int(maxBytes), leastFront)
}

// reached reports that a reply that has begun with front, and has size bytes or more, is not to be read on.
func (l limit) reached(front []byte, size int) bool {
	if l.bytes <= 0 || size <= l.bytes {
		return false
	}
	w := walker{buf: front, first: true}
	var b Batch
	if l.streams {
		return w.streams(0, &b) == errFront
	}
	return w.entries(0, &b) == errFront
}

// parsedFront returns the error of parsing a reply into b, which had entries before. If cut is
// errFront, only the front of the reply was taken: its whole entries count, and cut is the error.
func parsedFront(b *Batch, had int, cut, parsed error) error {
	if cut == nil || len(b.Entries) == had {
		return parsed
	}
	for i := range b.Entries[had:] {
		e := &b.Entries[had+i]
		b.Bytes += len(e.ID) + e.Fields.Size()
	}
	return cut
}

// processRaw has go-redis send a command, and returns the reply, or its front with errFront.
func processRaw(ctx context.Context, c redis.UniversalClient, keyPos int8, l limit, args []any) ([]byte, error) {
	if l.bytes <= 0 {
		cmd := redis.NewRawCmd(ctx, args...)
		cmd.SetFirstKeyPos(keyPos)
		if err := c.Process(ctx, cmd); err != nil {
			return nil, err
		}
		return cmd.Val(), nil
	}
	f := frontWriter{limit: l}
	cmd := redis.NewRawWriteToCmd(ctx, &f, args...)
	cmd.SetFirstKeyPos(keyPos)
	err := c.Process(ctx, cmd)
	if err != nil && !errors.Is(err, errFront) {
		return nil, err
	}
	return f.buf.Bytes(), err
}

// frontWriter takes a reply from go-redis, up to its limit. go-redis closes the connection of a
// reply that is not taken.
type frontWriter struct {
	limit limit
	buf   bytes.Buffer
}

func (f *frontWriter) Write(p []byte) (int, error) {
	if f.limit.reached(f.buf.Bytes(), f.buf.Len()+len(p)) {
		return 0, errFront
	}
	return f.buf.Write(p)
}

// ReadFrom takes one string of the reply. Its length is that of the io.LimitedReader that go-redis passes.
func (f *frontWriter) ReadFrom(r io.Reader) (int64, error) {
	s, ok := r.(*io.LimitedReader)
	if !ok {
		return f.buf.ReadFrom(r)
	}
	if s.N > maxReply || f.buf.Len() > maxReply {
		return 0, &ReplyError{f.buf.Len(), "bigger than 1 GiB"}
	}
	if f.limit.reached(f.buf.Bytes(), f.buf.Len()+int(s.N)) {
		return 0, errFront
	}
	f.buf.Grow(int(s.N))
	b := f.buf.AvailableBuffer()[:s.N]
	n, err := io.ReadFull(s, b)
	_, _ = f.buf.Write(b[:n]) // in place: it has room for them
	return int64(n), err
}
