package gateways

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// mailbox is the stream of a client's replies. The client creates it, keeps it alive and trims what
// it has read. Services write to it only while it exists. So it disappears a TTL after its client,
// and early replies are not lost, because the client reads it from its beginning.
type mailbox struct {
	key  string
	ttl  time.Duration
	rdb  redis.UniversalClient
	last atomic.Pointer[string] // the last entry read

	full chan struct{} // holds a token when enough has been read to trim
	read int           // bytes since the last token; owned by the reading goroutine

	shared bool // shared by several clients, which all write, read and trim it

	trimmed *string   // owned by keep
	touched time.Time // owned by keep
}

const (
	// keepEvery is the interval at which a mailbox is maintained.
	keepEvery = time.Second
	// readMost is how many read bytes may stay in it between trimmings.
	readMost = 1 << 20
)

// took counts bytes that were read.
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

// maintain keeps and trims the mailbox until stop is closed. Failures are logged and tried again.
func (b *mailbox) maintain(ctx context.Context, stop <-chan struct{}) error {
	ticks := time.NewTicker(keepEvery)
	defer ticks.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-ticks.C:
		case <-b.full:
		}
		if err := b.keep(ctx); err != nil && ctx.Err() == nil {
			flow.Logger(ctx).Warn("cannot maintain the stream of replies, will try again", "key", b.key, "error", err)
		}
	}
}

// make creates the stream, unless it exists.
func (b *mailbox) make(ctx context.Context) error {
	if b.shared {
		return b.locate(ctx)
	}
	pipe := b.rdb.Pipeline()
	pipe.XAdd(ctx, &redis.XAddArgs{Stream: b.key, Values: []any{"data", "", "type", string(kindHello)}})
	pipe.PExpire(ctx, b.key, b.ttl)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("gateways: create reply stream %q: %w", b.key, err)
	}
	return nil
}

// locate finds the end of a shared stream before the first request is sent: replies come after it.
func (b *mailbox) locate(ctx context.Context) error {
	if b.last.Load() != nil {
		return nil
	}
	newest, err := b.rdb.XRevRangeN(ctx, b.key, "+", "-", 1).Result()
	if err != nil {
		return fmt.Errorf("gateways: find the end of reply stream %q: %w", b.key, err)
	}
	from := "0-0"
	if len(newest) > 0 {
		from = newest[0].ID
	}
	b.seen(from)
	return nil
}

// start returns where reading begins.
func (b *mailbox) start() redisio.Start {
	if b.shared {
		if id, err := redisio.ParseID(*b.last.Load()); err == nil {
			return redisio.StartID(id)
		}
	}
	return redisio.StartBeginning()
}

func (b *mailbox) seen(id string) { b.last.Store(&id) }

// keep trims what has been read, in whole nodes of the stream, and extends the TTL. It creates the
// stream again if it has disappeared.
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
