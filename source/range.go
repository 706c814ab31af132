package source

import (
	"context"
	"io"
	"math"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

// RangeConfig configures Range. Key is required; the zero value of any other field selects its
// default.
type RangeConfig[T any] struct {
	// Key is the Redis key of the stream.
	Key string
	// From and To are the first and last entry to read, both included. They default to the
	// beginning, and to the stream's end at the time when the reader reaches it.
	From, To redisio.ID
	// Since and Until set the same limits by time, as the server's clock stamped the entries.
	Since, Until time.Time

	// Codec and Format are as in StreamConfig.
	Codec  redisio.Codec[T]
	Format redisio.Format[T]

	// MaxInFlight is the maximum number of unsettled messages. Defaults to 4096.
	MaxInFlight int
	// MaxCount is the maximum number of entries per read. Defaults to 1000.
	MaxCount int
	// Wait is how long to keep trying if Redis is not reachable at the start; see StreamConfig.
	Wait time.Duration
}

// Range reads a part of a stream, by id or by time, and then ends. Reading changes nothing on the
// server. A stream that does not exist has no entries.
//
// Nothing is acknowledged, so nothing is delivered again: a message that fails for good, or an
// entry that cannot be decoded, stops the graph unless a policy drops it (flow.Drop). After a lost
// connection, reading continues where it was.
func Range[T any](rdb redis.UniversalClient, cfg RangeConfig[T], opts ...flow.StageOption) flow.Source[T] {
	rc := reader.RangeConfig{Key: cfg.Key, From: cfg.From, To: cfg.To, MaxCount: cfg.MaxCount}
	if !cfg.Since.IsZero() {
		rc.From = redisio.IDAt(cfg.Since)
	}
	if !cfg.Until.IsZero() {
		rc.To = redisio.ID{Ms: redisio.IDAt(cfg.Until).Ms, Seq: math.MaxUint64}
	}
	wrong := mistakes(rdb, cfg.Codec, cfg.Format)
	wrong.If(!cfg.Since.IsZero() && !cfg.From.IsZero(), "Since", "is set besides From", "choose one")
	wrong.If(!cfg.Until.IsZero() && !cfg.To.IsZero(), "Until", "is set besides To", "choose one")
	wrong.Negative("Wait", int64(cfg.Wait), "leave it 0 to fail at once")
	wrong.Join(rc.Validate())
	if rc.MaxCount <= 0 {
		rc.MaxCount = defaultCount
	}
	base := []flow.StageOption{flow.InvalidError(wrong.Err()), flow.ChunkSize(rc.MaxCount), inFlight(cfg.MaxInFlight)}
	format := redisio.FormatOf(cfg.Codec, cfg.Format)
	return flow.NewSource("range", func() flow.Reader[T] {
		r := &rangeReader[T]{wait: cfg.Wait, entries: entries[T]{format: format}}
		rc := rc
		rc.OnEvent = r.events.tell(nil)
		r.r, r.err = reader.NewRange(rdb, rc)
		return r
	}, append(base, opts...)...)
}

// rangeReader is the running part of Range.
type rangeReader[T any] struct {
	r       *reader.Range
	err     error // of the configuration
	wait    time.Duration
	until   time.Time // an error before the first reply is final after this time
	entries entries[T]
	events  events
	reached bool
}

func (r *rangeReader[T]) Open(ctx context.Context) error {
	if r.err != nil {
		return flow.Permanent(r.err)
	}
	r.events.log(ctx)
	r.until = time.Now().Add(r.wait)
	return final(ctx, r.r.Open(ctx))
}

func (r *rangeReader[T]) Read(ctx context.Context, in *flow.Intake[T]) error {
	wait := backoff.ExponentialBackOff{InitialInterval: 20 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 2,
		MaxInterval: 5 * time.Second}
	for {
		var b redisio.Batch
		err := r.r.Read(ctx, in.Room(), int64(in.Bytes()), &b)
		switch {
		case err == nil || err == io.EOF:
			r.reached = true
			r.entries.add(in, &b)
			return err
		case ctx.Err() != nil:
			return err
		case redisio.IsPermanent(err), !r.reached && !time.Now().Before(r.until):
			return flow.Permanent(err)
		}
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
