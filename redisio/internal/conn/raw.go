package conn

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
)

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

// RawReply sends a command on the wire, or through go-redis if w is nil.
func RawReply(ctx context.Context, w *Wire, c Client, keyPos int8, l Limit, args []any) ([]byte, error) {
	if w != nil {
		return w.do(ctx, l, args)
	}
	raw, err := processRaw(ctx, c, keyPos, l, args)
	if errors.Is(err, resp.ErrFront) {
		err = resp.ErrFront
	}
	return raw, err
}
