package conn

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
)

// leastFront is a limit that is always fine: a wire keeps a buffer of that size anyhow.
const leastFront = MaxKept

// Limit bounds one reply. The zero value is no bound.
type Limit struct {
	Bytes   int
	Streams bool // the reply is one of XREAD or XREADGROUP, else a list of entries
}

// LimitFor is the limit of a read that asks for count entries with maxBytes. It returns 0 for a single entry.
func LimitFor(count int, maxBytes int64) int {
	if count <= 1 || maxBytes <= 0 || maxBytes >= resp.MaxReply {
		return 0
	}
	return max(2*int(maxBytes), leastFront)
}

// reached reports that a reply that has begun with front, and has size bytes or more, is not to be read on.
func (l Limit) reached(front []byte, size int) bool {
	if l.Bytes <= 0 || size <= l.Bytes {
		return false
	}
	w := resp.Walker{Buf: front, First: true}
	var b redisio.Batch
	if l.Streams {
		return w.Streams(0, &b) == resp.ErrFront
	}
	return w.Entries(0, &b) == resp.ErrFront
}

// processRaw has go-redis send a command, and returns the reply, or its front with errFront.
func processRaw(ctx context.Context, c redis.UniversalClient, keyPos int8, l Limit, args []any) ([]byte, error) {
	if l.Bytes <= 0 {
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
	if err != nil && !errors.Is(err, resp.ErrFront) {
		return nil, err
	}
	return f.buf.Bytes(), err
}

// frontWriter takes a reply from go-redis, up to its limit. go-redis closes the connection of a
// reply that is not taken.
type frontWriter struct {
	limit Limit
	buf   bytes.Buffer
}

func (f *frontWriter) Write(p []byte) (int, error) {
	if f.limit.reached(f.buf.Bytes(), f.buf.Len()+len(p)) {
		return 0, resp.ErrFront
	}
	return f.buf.Write(p)
}

// ReadFrom takes one string of the reply. Its length is that of the io.LimitedReader that go-redis passes.
func (f *frontWriter) ReadFrom(r io.Reader) (int64, error) {
	s, ok := r.(*io.LimitedReader)
	if !ok {
		return f.buf.ReadFrom(r)
	}
	if s.N > resp.MaxReply || f.buf.Len() > resp.MaxReply {
		return 0, &resp.ReplyError{Offset: f.buf.Len(), Problem: "bigger than 1 GiB"}
	}
	if f.limit.reached(f.buf.Bytes(), f.buf.Len()+int(s.N)) {
		return 0, resp.ErrFront
	}
	f.buf.Grow(int(s.N))
	b := f.buf.AvailableBuffer()[:s.N]
	n, err := io.ReadFull(s, b)
	_, _ = f.buf.Write(b[:n]) // in place: it has room for them
	return int64(n), err
}

// MaxKept is how large a buffer may be that is kept for the next pipeline.
const MaxKept = 1 << 20
