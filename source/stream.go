package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// StreamConfig configures Stream. Key and Group are required; the zero value of the rest is the default.
type StreamConfig[T any] struct {
	// Key is the Redis key of the stream.
	Key string
	// Group is the consumer group. Sources with the same group share its entries, in one process or
	// in many. It is made, with the stream, when it is missing.
	Group string
	// Consumer names this reader in the group. The default is a name of its own for each run, which
	// is what most want: two readers that are alive must never share one.
	Consumer string
	// Start is where a group that does not exist yet begins. The default is the beginning of the stream.
	Start redisio.Start

	// Codec decodes the data of native entries. The default is redisio.DefaultCodec: strings and []byte as they are,
	// everything else JSON.
	Codec redisio.Codec[T]
	// Format decodes whole entries, instead of Codec. The default is redisio.Native, and
	// redisio.Raw for redisio.Fields.
	Format redisio.Format[T]

	// MaxInFlight and MaxBytes are the credits: how many entries, and bytes of entries, may be read
	// and not settled. The pending list of this reader has no more, apart from entries that wait
	// for their next delivery. The defaults are 4096 and 64 MiB. Redis counts entries, not bytes,
	// so one read may bring up to twice the bytes that are free, or 1 MiB, or one entry of any
	// size. The source then holds at most twice MaxBytes, and three times while a reply arrives.
	// With AtMostOnce a reply of entries that are suddenly larger than all before has no bound but
	// Count.
	MaxInFlight int
	MaxBytes    int
	// Count is how many entries one read takes at most. The default is 1000.
	Count int
	// Block is how long a read waits on the server for entries, and so how long the source may take
	// to notice that the graph drains. The default is 1 s, the most 2 s. A server or proxy that
	// ignores it is asked ten times a second while idle.
	Block time.Duration
	// Lease is how long entries stay with a reader that has died; live ones renew it. The default
	// is 30 s. The readers of a group should agree on it.
	Lease time.Duration

	// DeleteSettled deletes entries from the stream as they are acknowledged or dead-lettered, once
	// every other group is done with them too. So the stream holds what is not settled, and at most
	// one entry more for each source. Defaults to false: entries stay until the retention of their
	// writers drops them. Set it in all sources of a group, and not where others read the stream
	// without a group.
	DeleteSettled bool

	// MaxDeliveries is how often an entry is delivered that fails, or whose reader dies of it; then it goes to the dead
	// letters. The count is the server's, over all readers. The default is 16; negative means no limit.
	MaxDeliveries int
	// DeadKey is the stream for dead letters. The default is Key+":dead". With a cluster client it
	// must share Key's hash slot, so there the default for a Key without a hash tag is
	// "{Key}:dead". With any other client of a server that has slots an entry is moved in two steps
	// where the keys are in different ones, see redisio.GroupReader.Dead.
	DeadKey string
	// DeadMaxLen is the most letters that the dead-letter stream keeps, roughly. The oldest go first; OnEvent
	// is told how many (redisio.EventDeadDropped). The default is 100,000; negative keeps all.
	DeadMaxLen int64

	// DelayedEvery is how often the source looks, at most, for entries that are scheduled for the stream (see
	// redisio.Scheduler) and are due: it moves them to the stream, whoever scheduled them. While
	// nothing is scheduled it looks every 5 s. The default is 1 s; negative means never.
	DelayedEvery time.Duration

	// OnLostGroup says what to do when the group, or the stream, was deleted. The default is to
	// make it again where it was.
	OnLostGroup redisio.LostGroup
	// Capabilities are what newer servers have that may be used: Claim and MaxSize, by reads. By default the
	// server is asked. &redisio.Capabilities{} is none of them, as on Redis 7.0. Delivery is the same with and without.
	Capabilities *redisio.Capabilities
	// ReapAfter is when other consumers of the group that have nothing pending and did nothing are
	// deleted. The default is an hour; negative means never.
	ReapAfter time.Duration

	// AtMostOnce reads without acknowledgements, which is cheaper for the server: what has been read is gone, however
	// the work on it ends, and there are no dead letters.
	AtMostOnce bool
	// Wait is how long to keep trying while Redis is not reachable at the start. By default the
	// graph stops with the error of the first try. Once it has started the source reconnects for as
	// long as it takes.
	Wait time.Duration
	// ReadyWithin is how long Redis may have failed to answer before flow's Running.Ready says that
	// the graph is not ready. The default is 30 s; choose it above a third of the lease, and above
	// what a failover takes.
	ReadyWithin time.Duration
	// OnEvent is told what the reader noticed: reconnects, lost leases, entries taken over. It must not block.
	OnEvent func(redisio.Event)
}

const (
	defaultCount         = 1000
	defaultMaxDeliveries = 16
)

// Stream reads a Redis stream as a member of a consumer group.
//
// Every entry that is read ends acknowledged, as a dead letter, or still pending, whatever fails: delivery is at least
// once. An entry is acknowledged when all that came of it is done, in particular written by the sinks. One that failed
// is delivered again after the delay that was asked for, to this reader or another, and becomes a dead letter after
// MaxDeliveries, or at once when it was rejected or cannot be decoded. One that was not finished when the graph
// ended is given back, for others to take at once; those of a process that died are taken over when
// their lease is over.
//
// A dead letter has all raw fields of the entry, and behind them dead:error, dead:cause for each error that it wraps,
// dead:stack of a panic, dead:graph, dead:stage, dead:attempts, dead:id, dead:key, dead:group and dead:time. See
// [redisio.DeadLetters] and [redisio.ReplayDeadLetters], and the command redisio/cmd/streams.
//
// Message metadata: ID and Time are the entry's, Attempt its deliveries; MessageID, Key, Type,
// ReplyTo, Deadline and Headers are what the producer gave (the trace context is the header
// "traceparent"). The Deadline is by this process's clock, whatever the producer's says. Values of
// type []byte and redisio.Fields refer to the buffer that the reply came in, which nobody writes to
// again.
//
// The client is the caller's: connections are derived from it, and it is never closed. A key of the wrong type and
// missing rights stop the graph.
func Stream[T any](rdb redis.UniversalClient, cfg StreamConfig[T], opts ...flow.StageOption) flow.Source[T] {
	p := cfg.plan(rdb)
	base := append(
		[]flow.StageOption(p.wrong),
		flow.ChunkSize(p.group.MaxCount),
		flow.Redelivers(),
		flow.KeepsDeadLetters(),
	)
	if !cfg.AtMostOnce {
		base = append(base, flow.GivesBack())
	}
	if cfg.MaxInFlight != 0 {
		base = append(base, flow.MaxInFlight(cfg.MaxInFlight))
	}
	if cfg.MaxBytes != 0 {
		base = append(base, flow.MaxBytes(cfg.MaxBytes))
	}
	format := redisio.FormatOf(cfg.Codec, cfg.Format)
	return flow.NewSource(
		"stream",
		func() flow.Reader[T] { return newStreamReader(rdb, p, format) },
		append(base, opts...)...)
}

func newStreamReader[T any](rdb redis.UniversalClient, p *streamPlan, format redisio.Format[T]) *streamReader[T] {
	s := &streamReader[T]{settler: settler{plan: p}, entries: entries[T]{format: format, most: p.maxDeliveries}}
	group := p.group
	group.OnEvent, group.OnLost = s.events.tell(p.group.OnEvent), s.leases.tell
	s.r, s.err = redisio.NewGroupReader(rdb, group)
	return s
}

// streamPlan is a StreamConfig with its defaults, and what is wrong with it.
type streamPlan struct {
	group         redisio.GroupConfig
	deadKey       string
	maxDeliveries int
	readyWithin   time.Duration
	wrong         mistakes
}

func (c StreamConfig[T]) plan(rdb redis.UniversalClient) *streamPlan {
	p := &streamPlan{
		group: redisio.GroupConfig{
			Key: c.Key, Group: c.Group, Consumer: c.Consumer, Start: c.Start, Block: c.Block, MaxCount: c.Count,
			Lease: c.Lease, NoAck: c.AtMostOnce, DeadMaxLen: c.DeadMaxLen, DelayedEvery: c.DelayedEvery, Wait: c.Wait, OnEvent: c.OnEvent,
			OnLostGroup: c.OnLostGroup, ReapAfter: c.ReapAfter, Capabilities: c.Capabilities,
			DeleteSettled: c.DeleteSettled,
		},
		deadKey: c.DeadKey, maxDeliveries: c.MaxDeliveries,
	}
	if redisio.IsNilClient(rdb) {
		p.wrong.add("rdb", "the Redis client is nil", "pass one, see redisio.Connect")
	}
	p.wrong.of(p.group.Validate(), map[string]string{"MaxCount": "Count", "NoAck": "AtMostOnce"})
	p.wrong.both(c.Codec != nil, c.Format != nil)
	p.readyWithin = p.wrong.readyWithin(c.ReadyWithin)
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
			p.wrong.add("AtMostOnce", "is set beside DeadKey, DeadMaxLen or MaxDeliveries",
				"drop one of them: what was read at most once is neither delivered again nor kept")
		}
	case c.DeadKey == "":
		p.deadKey = deadKey(c.Key, cluster)
		if p.deadKey == "" {
			p.wrong.add("DeadKey", fmt.Sprintf("no default shares the hash slot of %q", c.Key),
				"give the keys a common hash tag, as {orders} and {orders}:dead")
		}
	case c.DeadKey == c.Key:
		p.wrong.add("DeadKey", "is the stream that is read", "name another stream")
	case cluster && hashed(c.DeadKey) != hashed(c.Key):
		p.wrong.add("DeadKey", fmt.Sprintf("%q does not share the hash slot of %q", c.DeadKey, c.Key),
			"give both the same hash tag, as {orders} and {orders}:dead")
	}
	return p
}

// deadKey is the default key of dead letters; "" if there is none in the same hash slot.
func deadKey(key string, cluster bool) string {
	plain := key + ":dead"
	if !cluster || hashed(plain) == hashed(key) {
		return plain
	}
	if tagged := "{" + key + "}:dead"; hashed(tagged) == key {
		return tagged
	}
	return ""
}

// hashed is the part of a key that Redis Cluster hashes: what stands in the first braces, if anything does, else all.
func hashed(key string) string {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			return tag
		}
	}
	return key
}

// streamReader is the running side of Stream.
type streamReader[T any] struct {
	settler
	entries entries[T]
	events  events
	leases
	err  error // of the configuration
	open atomic.Bool
}

// Open makes the group. That Redis is not there is final: waiting for it is what Wait is for.
func (s *streamReader[T]) Open(ctx context.Context) error {
	if s.err != nil {
		return flow.Permanent(s.err)
	}
	s.events.log(ctx)
	if err := s.r.Open(ctx); err != nil {
		return final(ctx, err)
	}
	if !s.plan.group.NoAck {
		if err := s.r.CheckDead(ctx, s.plan.deadKey); err != nil {
			return final(ctx, errors.Join(err, s.r.Close(ctx)))
		}
	}
	s.open.Store(true)
	return nil
}

func (s *streamReader[T]) Read(ctx context.Context, in *flow.Intake[T]) error {
	var b redisio.Batch
	err := s.r.Read(ctx, in.Room(), int64(in.Bytes()), &b)
	s.entries.ahead = s.r.Ahead()
	s.entries.add(in, &b)
	return final(ctx, err)
}

// Meter tells the group's lag and pending entries, of all its readers.
func (s *streamReader[T]) Meter(ctx context.Context) (lag, pending int64, err error) {
	if !s.open.Load() {
		return -1, -1, redisio.ErrNotOpen
	}
	info, err := s.r.Info(ctx)
	if err != nil {
		return -1, -1, err
	}
	return info.Lag, info.Pending, nil
}

func (s *streamReader[T]) Close(ctx context.Context) error {
	if !s.open.Load() {
		return nil
	}
	return s.r.Close(ctx)
}
