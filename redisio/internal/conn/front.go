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

// leastFront is the smallest limit: a wire keeps a buffer of that size anyway.
const leastFront = MaxKept

// Limit bounds one reply. The zero value means no bound.
type Limit struct {
	Bytes   int
	Streams bool // the reply is one of XREAD or XREADGROUP, else a list of entries
}

// LimitFor returns the limit of a read of count entries with maxBytes. It is 0 for a single entry.
func LimitFor(count int, maxBytes int64) int {
	if count <= 1 || maxBytes <= 0 || maxBytes >= resp.MaxReply {
		return 0
	}
	return max(2*int(maxBytes), leastFront)
}

// reached reports whether to stop reading a reply that begins with front and has at least size
// bytes.
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

// processRaw sends a command through go-redis and returns the reply, or its front and ErrFront.
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

// frontWriter receives a reply from go-redis, up to its limit. go-redis closes the connection if
// the reply is not read to the end.
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

// ReadFrom reads one string of the reply. The io.LimitedReader of go-redis has its length.
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
	_, _ = f.buf.Write(b[:n]) // in place: the buffer has room
	return int64(n), err
}

// MaxKept is the largest buffer that is kept for reuse.
const MaxKept = 1 << 20
