package source

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

// TailConfig configures Tail. Key is required; the zero value of any other field selects its
// default.
type TailConfig[T any] struct {
	// Key is the Redis key of the stream. It need not exist yet.
	Key string
	// Start is where to begin: behind an entry, at a time, at the beginning or at the end. Defaults
	// to the end.
	Start redisio.Start

	// Codec and Format are as in StreamConfig.
	Codec  redisio.Codec[T]
	Format redisio.Format[T]

	// MaxInFlight is the maximum number of unsettled messages. Defaults to 4096.
	MaxInFlight int
	// MaxCount is the maximum number of entries per read. Defaults to 1000.
	MaxCount int
	// Block is how long a read waits on the server for entries. Defaults to 1s, at most 2s.
	Block time.Duration
	// Wait is how long to keep trying if Redis is not reachable at the start; see StreamConfig.
	Wait time.Duration
	// OnEvent is called for lost and new connections. It must not block.
	OnEvent func(redisio.Event)
}

// Tail follows a stream without a group: it reads every entry behind its start, regardless of other
// readers, and leaves no trace on the server. It keeps its position over reconnects; each run
// begins at Start.
//
// Nothing is acknowledged, so nothing is delivered again: a message that fails for good stops the
// graph, unless the policy drops it (flow.Drop). By default an entry that cannot be decoded is
// dropped and counted; OnFault sets another policy.
func Tail[T any](rdb redis.UniversalClient, cfg TailConfig[T], opts ...flow.StageOption) flow.Source[T] {
	if cfg.Start.IsZero() {
		cfg.Start = redisio.StartEnd()
	}
	rc := reader.TailConfig{Key: cfg.Key, Start: cfg.Start, Block: cfg.Block, MaxCount: cfg.MaxCount, Wait: cfg.Wait,
		OnEvent: cfg.OnEvent}
	wrong := mistakes(rdb, cfg.Codec, cfg.Format)
	wrong.Join(rc.Validate())
	if rc.MaxCount <= 0 {
		rc.MaxCount = defaultCount
	}
	base := []flow.StageOption{flow.InvalidError(wrong.Err()), flow.ChunkSize(rc.MaxCount), flow.OnFault(flow.Drop),
		inFlight(cfg.MaxInFlight)}
	format := redisio.FormatOf(cfg.Codec, cfg.Format)
	return flow.NewSource("tail", func() flow.Reader[T] {
		t := &tailReader[T]{key: cfg.Key, entries: entries[T]{format: format}}
		rc := rc
		rc.OnEvent = t.events.tell(rc.OnEvent)
		t.r, t.err = reader.NewTail(rdb, rc)
		return t
	}, append(base, opts...)...)
}

// tailReader is the running part of Tail.
type tailReader[T any] struct {
	key     string
	r       *reader.Tail
	err     error // of the configuration
	entries entries[T]
	events  events
}

func (t *tailReader[T]) Open(ctx context.Context) error {
	if t.err != nil {
		return flow.Permanent(t.err)
	}
	t.events.log(ctx)
	return final(ctx, t.r.Open(ctx))
}

func (t *tailReader[T]) Read(ctx context.Context, in *flow.Intake[T]) error {
	var b redisio.Batch
	err := t.r.Read(ctx, in.Room(), int64(in.Bytes()), &b)
	t.entries.add(in, &b)
	return final(ctx, err)
}

func (t *tailReader[T]) Close(ctx context.Context) error {
	if t.r == nil {
		return nil
	}
	return t.r.Close(ctx)
}

// Origin names the stream, for spans.
func (t *tailReader[T]) Origin() (stream, group string) { return t.key, "" }

// Counts reports the numbers of events, see flow.Counter.
func (t *tailReader[T]) Counts(add func(name string, n uint64)) { t.events.report(tailKinds, add) }

// Ready reports to a readiness probe whether Redis answers.
func (t *tailReader[T]) Ready() error {
	if t.r == nil {
		return nil
	}
	return t.r.Ready(defaultReadyWithin)
}
