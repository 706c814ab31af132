package conn

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
)

// Page fills b with entries by XRANGE or XREVRANGE. It reports whether all requested entries
// arrived. After a cut connection it retries with fewer entries and reports this to tell, if set.
func (a *Asking) Page(ctx context.Context, rdb redis.UniversalClient, most int, maxBytes int64, b *redisio.Batch,
	tell func(redisio.Event), cmd, key string, from, to redisio.ID) (full bool, err error) {
	for tries := 1; ; tries++ {
		count := a.Count(most, maxBytes)
		l := Limit{Bytes: LimitFor(count, maxBytes)}
		err = RawEntries(ctx, rdb, l, b, cmd, key, from.String(), to.String(), "count", count)
		full = len(b.Entries) == count || err == resp.ErrFront
		if err == resp.ErrFront {
			err = nil
		}
		less := a.Failed(count, err)
		if less && tell != nil {
			e := redisio.Event{Kind: redisio.EventAskingLess, Key: key, Count: a.Few, Err: err}
			fault.Notify("RangeConfig.OnEvent", func() { tell(e) })
		}
		again := fault.IsCut(err) || l.Bytes > 0 && fault.Judge(err) == fault.Broken // go-redis does not retry these
		if !again || tries >= fault.CutTries && !less || !fault.Sleep(ctx, nil, fault.Backoff(min(tries, 4))) {
			return full, err
		}
	}
}

// RawEntries fills b with the reply of a command that reads entries, sent by the caller's client.
// If the reply exceeds the limit, b has its front and the error is ErrFront.
func RawEntries(ctx context.Context, rdb redis.UniversalClient, l Limit, b *redisio.Batch, args ...any) error {
	cluster, _ := rdb.(*redis.ClusterClient)
	for n := 1; ; n++ {
		raw, err := processRaw(ctx, rdb, 1, l, args)
		if front := errors.Is(err, resp.ErrFront); err == nil || front {
			if front {
				err = resp.ErrFront
			}
			if err = resp.ParsedFront(b, 0, err, resp.ParseEntries(raw, 0, b)); err != nil && err != resp.ErrFront {
				b.Reset()
			}
		}
		if cluster == nil || fault.Judge(err) != fault.Moved || n > 5 {
			return err
		}
		cluster.ReloadState(ctx) // go-redis does not see MOVED in a raw reply
		if !fault.Sleep(ctx, nil, fault.Backoff(n)) {
			return fault.Ended(ctx)
		}
	}
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
