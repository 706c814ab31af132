package gateways

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
)

// mailbox is the stream of a client's replies. The client makes it, keeps it alive, and takes away
// what it has read; services write to it only while it exists. So nothing is left of a client that
// is gone, once the TTL is over, and nothing is lost of replies that come early: it is read from
// its beginning.
type mailbox struct {
	key  string
	ttl  time.Duration
	rdb  redis.UniversalClient
	last atomic.Pointer[string] // the entry read last

	full chan struct{} // holds a token when much of it has been read
	read int           // bytes, since the last token; of the reading goroutine

	shared bool // it is not this client's alone: others write to it, read it and trim it

	trimmed *string   // Of keep alone
	touched time.Time // likewise
}

const (
	// keepEvery is how often a mailbox is looked after.
	keepEvery = time.Second
	// readMost is how many bytes that have been read stay in it until then.
	readMost = 1 << 20
)

// took notes that so many bytes were read.
func (b *mailbox) took(n int) {
	if b.read += n; b.read < readMost {
		return
	}
	b.read = 0
	select {
	case b.full <- struct{}{}:
	default:
	}
}

// trim takes away what has been read, in whole nodes of the stream.
func (b *mailbox) trim(ctx context.Context, _ struct{}) error {
	return b.rdb.XTrimMinIDApprox(ctx, b.key, *b.last.Load(), 0).Err()
}

// make makes the stream, unless it is there.
func (b *mailbox) make(ctx context.Context) error {
	if b.shared {
		return b.locate(ctx)
	}
	pipe := b.rdb.Pipeline()
	pipe.XAdd(ctx, &redis.XAddArgs{Stream: b.key, Values: []any{"data", "", "type", string(kindHello)}})
	pipe.PExpire(ctx, b.key, b.ttl)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("gateways: make the stream of replies %q: %w", b.key, err)
	}
	return nil
}

// locate settles where the end of a shared stream is, before the first request is sent: replies are those behind it.
func (b *mailbox) locate(ctx context.Context) error {
	if b.last.Load() != nil {
		return nil
	}
	newest, err := b.rdb.XRevRangeN(ctx, b.key, "+", "-", 1).Result()
	if err != nil {
		return fmt.Errorf("gateways: find the end of the stream of replies %q: %w", b.key, err)
	}
	from := "0-0"
	if len(newest) > 0 {
		from = newest[0].ID
	}
	b.seen(from)
	return nil
}

// start is where reading it begins.
func (b *mailbox) start() redisio.Start {
	if b.shared {
		if id, err := redisio.ParseID(*b.last.Load()); err == nil {
			return redisio.StartID(id)
		}
	}
	return redisio.StartBeginning()
}

func (b *mailbox) seen(id string) { b.last.Store(&id) }

// keep trims what has been read, and puts off the end of the stream. Should it be gone it is made again.
func (b *mailbox) keep(ctx context.Context) error {
	last := b.last.Load()
	trims, touches := last != b.trimmed, time.Since(b.touched) >= b.ttl/4
	if !trims && !touches {
		return nil
	}
	pipe := b.rdb.Pipeline()
	if trims {
		pipe.XTrimMinIDApprox(ctx, b.key, *last, 0)
	}
	alive := pipe.PExpire(ctx, b.key, b.ttl)
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	b.trimmed, b.touched = last, time.Now()
	if !alive.Val() {
		return b.make(ctx)
	}
	return nil
}

func (b *mailbox) remove(ctx context.Context) error {
	if b.shared {
		return nil
	}
	return b.rdb.Del(ctx, b.key).Err()
}
