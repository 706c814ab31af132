package source

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/gather"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

// StreamConfig configures Stream. Key and Group are required; the zero value of any other field
// selects its default.
type StreamConfig[T any] struct {
	// Key is the Redis key of the stream.
	Key string
	// Group is the consumer group. Sources with the same group share its entries, in one process or
	// in many. A missing group is created, with its stream.
	Group string
	// Consumer is the name of this reader in the group. Defaults to a unique name for each run,
	// which is right for most programs. Two live readers must never share a name.
	Consumer string
	// Start is where a new group begins. Defaults to the beginning of the stream.
	Start redisio.Start

	// Codec decodes the data of native entries. Defaults to redisio.DefaultCodec: strings and
	// []byte unchanged, everything else as JSON.
	Codec redisio.Codec[T]
	// Format decodes whole entries, instead of Codec. Defaults to redisio.Native, or to redisio.Raw
	// for redisio.Fields.
	Format redisio.Format[T]

	// MaxInFlight is the maximum number of entries that are read and not settled; flow.MaxBytes
	// limits their bytes. The pending list of this reader has no more, apart from entries that wait
	// for their next delivery. Defaults to 4096, and 64 MiB. Redis counts entries, not bytes, so
	// one read may return up to twice the free bytes, or 1 MiB, or one entry of any size. The
	// source then holds at most twice its bytes, and three times while a reply arrives. With
	// AtMostOnce, if entries are suddenly larger than all before, only MaxCount bounds the reply.
	MaxInFlight int

	// MaxDeliveries is how often an entry is delivered if it fails or its reader dies. After that
	// it becomes a dead letter. The server's count includes all readers. Defaults to 16. Negative
	// means no limit.
	MaxDeliveries int
	// DeadKey is the stream for dead letters. Defaults to Key+":dead". With a cluster client it
	// must share Key's hash slot, so there the default for a Key without a hash tag is
	// "{Key}:dead". With any other client of a server with slots, an entry is moved in two steps if
	// the keys are in different slots, see reader.Group.Dead.
	DeadKey string
	// AtMostOnce reads without acknowledgements, which is cheaper for the server. An entry that was
	// read is never delivered again, whatever its outcome, and there are no dead letters.
	AtMostOnce bool

	// Producers is how many producers mark the end of the stream, see [gather.End]. The source ends
	// when all have, and the group has settled every entry before the marks, so that nothing is left
	// for another delivery. It looks whenever no entry arrives within Block. Defaults to 0: the
	// source never ends.
	Producers int

	// Wait is how long to keep trying if Redis is not reachable at the start. Defaults to 0: the
	// graph stops with the error of the first try. Once started, the source reconnects without
	// limit.
	Wait time.Duration
	// ReadyWithin is how long Redis may fail to answer before flow's Running.Ready reports the
	// graph as not ready. Defaults to 30s. Choose it above a third of the lease, and above the
	// duration of a failover.
	ReadyWithin time.Duration
	// OnEvent is called for events of the reader: reconnects, lost leases, entries taken over. It
	// must not block.
	OnEvent func(redisio.Event)

	reader.Tuning
}

const (
	defaultCount         = 1000
	defaultMaxDeliveries = 16
	// defaultReadyWithin is longer than a usual failover of Redis, and than the pauses between the
	// round trips of a reader with the default lease.
	defaultReadyWithin = 30 * time.Second
)

// Stream reads a Redis stream as a member of a consumer group.
//
// Every entry read ends acknowledged, as a dead letter, or still pending, even if something fails:
// delivery is at least once. An entry is acknowledged when all its output is done, in particular
// written by the sinks. A failed entry is delivered again after the requested delay, to this reader
// or another. It becomes a dead letter after MaxDeliveries, or at once when it was rejected or
// cannot be decoded. An entry that is unfinished when the graph ends is given back, and other
// readers may take it at once. The entries of a dead process are taken over when their lease
// expires.
//
// A dead letter has all raw fields of the entry, followed by dead:error, dead:cause for each
// wrapped error, dead:stack of a panic, dead:graph, dead:stage, dead:attempts, dead:id, dead:key,
// dead:group and dead:time. See [dead.All] and [dead.Replay], and the
// command redisio/cmd/streams.
//
// Message metadata: ID and Time are the entry's, Attempt its deliveries. MessageID, Key, Type,
// ReplyTo, Deadline and Headers come from the producer (its trace is in the headers "traceparent",
// "tracestate" and "baggage"). The Deadline is converted to this process's clock. Values of type []byte and
// redisio.Fields refer to the buffer of the reply, which is never written again.
//
// The client belongs to the caller: the source derives connections from it and never closes it. A
// key of the wrong type and missing permissions stop the graph.
func Stream[T any](rdb redis.UniversalClient, cfg StreamConfig[T], opts ...flow.StageOption) flow.Source[T] {
	p := cfg.plan(rdb)
	base := []flow.StageOption{
		flow.InvalidError(p.wrong.Err()),
		flow.ChunkSize(2 * p.group.MaxCount), // one reply, and one that is read ahead
		flow.Traits{Redelivers: true, DeadLetters: true, GivesBack: !cfg.AtMostOnce, DeadLettersTo: p.deadLettersTo()},
		inFlight(cfg.MaxInFlight),
	}
	format := redisio.FormatOf(cfg.Codec, cfg.Format)
	return flow.NewSource(
		"stream",
		func() flow.Reader[T] { return newStreamReader(rdb, p, format) },
		append(base, opts...)...)
}

// streamPlan is a StreamConfig with its defaults and its errors.
type streamPlan struct {
	group         reader.GroupConfig
	producers     int
	deadKey       string
	maxDeliveries int
	readyWithin   time.Duration
	wrong         *redisio.Mistakes
}

func (c StreamConfig[T]) plan(rdb redis.UniversalClient) *streamPlan {
	p := &streamPlan{
		group: reader.GroupConfig{
			Key: c.Key, Group: c.Group, Consumer: c.Consumer, Start: c.Start, AtMostOnce: c.AtMostOnce, Wait: c.Wait,
			OnEvent: c.OnEvent, Tuning: c.Tuning,
		},
		deadKey: c.DeadKey, maxDeliveries: c.MaxDeliveries, readyWithin: cmp.Or(c.ReadyWithin, defaultReadyWithin),
		wrong: mistakes(rdb, c.Codec, c.Format), producers: c.Producers,
	}
	p.wrong.Join(p.group.Validate())
	if c.Producers != 0 {
		p.wrong.Join(gather.EndConfig{Key: c.Key, Producers: c.Producers}.Validate())
	}
	p.wrong.Negative("ReadyWithin", int64(c.ReadyWithin), "leave it 0 for 30s")
	if p.group.MaxCount <= 0 {
		p.group.MaxCount = defaultCount
	}
	if p.maxDeliveries == 0 {
		p.maxDeliveries = defaultMaxDeliveries
	}
	p.group.MaxDeliveries = max(p.maxDeliveries, 0)
	_, cluster := rdb.(*redis.ClusterClient)
	switch {
	case c.AtMostOnce:
		if c.DeadKey != "" || c.MaxDeliveries != 0 || c.DeadMaxLen != 0 {
			p.wrong.Add("AtMostOnce", "is set besides DeadKey, DeadMaxLen or MaxDeliveries",
				"remove one: entries read at most once are neither delivered again nor kept")
		}
	case c.DeadKey == "":
		p.deadKey = deadKey(c.Key, cluster)
		if p.deadKey == "" {
			p.wrong.Add("DeadKey", fmt.Sprintf("no default shares the hash slot of %q", c.Key),
				"give the keys a common hash tag, such as {orders} and {orders}:dead")
		}
	case c.DeadKey == c.Key:
		p.wrong.Add("DeadKey", "is the stream that is read", "name another stream")
	case cluster && redisio.HashTag(c.DeadKey) != redisio.HashTag(c.Key):
		p.wrong.Add("DeadKey", fmt.Sprintf("%q does not share the hash slot of %q", c.DeadKey, c.Key),
			"give both the same hash tag, such as {orders} and {orders}:dead")
	}
	return p
}

// deadLettersTo returns the key of the dead letters for the description, or "" without any.
func (p *streamPlan) deadLettersTo() string {
	if p.group.AtMostOnce {
		return ""
	}
	return p.deadKey
}

// deadKey returns the default key of dead letters, or "" if no default is in the same hash slot.
func deadKey(key string, cluster bool) string {
	if !cluster {
		return key + ":dead"
	}
	return redisio.Beside(key, ":dead")
}

// mistakes returns the errors that the configurations of all sources have in common.
func mistakes[T any](rdb redis.UniversalClient, codec redisio.Codec[T], format redisio.Format[T]) *redisio.Mistakes {
	m := redisio.MistakesOf("source")
	m.Client(rdb)
	m.If(codec != nil && format != nil, "Format", "is set besides Codec", "choose one: a format has its own codec")
	return m
}

// inFlight is flow.MaxInFlight, or no option for 0.
func inFlight(n int) flow.StageOption {
	if n == 0 {
		return nil
	}
	return flow.MaxInFlight(n)
}

// final marks the error of a reader as permanent, because redisio already retries and reconnects
// where that can help.
func final(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	return flow.Permanent(err)
}
