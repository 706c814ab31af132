package scatter

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/gather"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

// note tells that a gather has closed. With an empty id any gather may have: the reader of the
// notices has just started, or its connection was lost.
type note struct{ id string }

// notices is the source of notes. A process has one for each Out.
func notices(rdb redis.UniversalClient, store *gather.Store) flow.Source[note] {
	return flow.NewSource("notices", func() flow.Reader[note] {
		return &noticeReader{rdb: rdb, key: store.Config().Notices()}
	}, flow.Traits{Untraced: true})
}

// noticeBlock is how long a read waits on the server, and so how long the source needs to end.
const noticeBlock = 250 * time.Millisecond

// forever is how long the source waits for Redis at its start.
const forever = 100 * 365 * 24 * time.Hour

type noticeReader struct {
	rdb  redis.UniversalClient
	key  string
	tail *reader.Tail
	any  atomic.Bool // notices may have been missed
}

func (r *noticeReader) Open(ctx context.Context) (err error) {
	r.tail, err = reader.NewTail(r.rdb, reader.TailConfig{
		Key: r.key, Start: redisio.StartEnd(), Block: noticeBlock, Wait: forever,
		OnEvent: func(redisio.Event) { r.any.Store(true) },
	})
	if err == nil {
		err = r.tail.Open(ctx)
	}
	r.any.Store(true) // gathers that closed before
	if ctx.Err() == nil {
		return final(err)
	}
	return err
}

func (r *noticeReader) Read(ctx context.Context, in *flow.Intake[note]) error {
	var b redisio.Batch
	for in.Len() == 0 {
		if r.any.Swap(false) {
			in.AddValue(note{})
			return nil
		}
		if err := r.tail.Poll(ctx, in.Room(), int64(in.Bytes()), &b); err != nil {
			if ctx.Err() == nil {
				return final(err)
			}
			return err
		}
		for i := range b.Entries {
			if f := b.Entries[i].Fields; len(f) > 0 {
				in.AddValue(note{id: string(f[0].Value)})
			}
		}
	}
	return nil
}

func (r *noticeReader) Close(ctx context.Context) error {
	if r.tail == nil {
		return nil
	}
	return r.tail.Close(ctx)
}
