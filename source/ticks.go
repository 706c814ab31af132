package source

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// TicksConfig configures Ticks. Next, Key and Group are required; the zero value of the rest is the
// default. Package source/cron has a Next for the lines of a crontab.
type TicksConfig struct {
	// Next returns the first tick after a time; the zero time if there is none any more. It must
	// depend on nothing else, because all processes with this Key must agree on it.
	Next func(after time.Time) time.Time
	// Location is the time zone of Tick.Time. The default is UTC.
	Location *time.Location

	// Key is the Redis key of the stream of ticks, of nothing else. All processes with this Key
	// must have the same Next.
	Key string
	// Group is the consumer group: each tick goes to one of its members.
	Group string

	// Missed is how many of the ticks that passed while no process was alive are made up for: the
	// last ones. The default is 1, the last; negative means none (up to 10 s late is on time), and
	// 1000 is the most.
	Missed int
	// MaxLen is how many ticks the stream keeps, roughly. The default is 1000.
	MaxLen int64

	// MaxInFlight, Lease, MaxDeliveries, DeadKey, DeadMaxLen, Block and Wait are as in
	// StreamConfig, except for MaxInFlight, whose default is 1: a tick waits until the one before
	// it is done, here. Other members of the group do not.
	MaxInFlight   int
	Lease         time.Duration
	MaxDeliveries int
	DeadKey       string
	DeadMaxLen    int64
	Block         time.Duration
	Wait          time.Duration
	// OnEvent is told of redisio.EventTickerWaits as well: the stream's last ID lies in the future,
	// so no tick comes until then.
	OnEvent func(redisio.Event)
}

// Tick is a moment that Ticks tells of.
type Tick struct {
	Time time.Time `json:"time"` // when it was due, in the source's Location
}

// Ticks is a source of ticks, each once for all processes that run it: they race to write it to a
// stream of Redis, by an ID that the stream takes only once, and share the ticks as a consumer
// group. So a tick whose handler fails is delivered again, and so is one whose process dies, when
// its lease is over. The clock of the server decides when it is time. The first process ever has
// missed nothing.
//
// Message metadata: ID is the tick's time in ms, Time when it was due.
//
// Order: that of time, within a process; a tick that is delivered again comes later. Acks: a tick
// is acknowledged when all that came of it is done. Ends: by drain only. Errors: as for Stream;
// while Redis is away no tick comes.
func Ticks(rdb redis.UniversalClient, cfg TicksConfig, opts ...flow.StageOption) flow.Source[Tick] {
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 1
	}
	sc := StreamConfig[Tick]{
		Key: cfg.Key, Group: cfg.Group, Start: redisio.StartEnd(), MaxInFlight: cfg.MaxInFlight, Count: max(cfg.MaxInFlight, 1),
		Lease: cfg.Lease, MaxDeliveries: cfg.MaxDeliveries, DeadKey: cfg.DeadKey, DeadMaxLen: cfg.DeadMaxLen, Block: cfg.Block,
		Wait: cfg.Wait, OnEvent: cfg.OnEvent, DelayedEvery: -1, // ticks are not scheduled there
	}
	p := sc.plan(rdb)
	if cfg.Next == nil {
		p.wrong.add("Next", "is nil", "give a function that returns the first tick after a time, or use cron.Source")
	}
	if cfg.Missed > 1000 {
		p.wrong.add("Missed", fmt.Sprintf("is %d", cfg.Missed), "choose up to 1000")
	}
	if cfg.MaxLen < 0 {
		p.wrong.add("MaxLen", "is negative", "leave it 0 for 1000")
	}
	tc := redisio.TickerConfig{
		Key:    cfg.Key,
		Next:   cfg.Next,
		Missed: max(cfg.Missed, 0),
		MaxLen: cfg.MaxLen,
		Fields: tickFields,
	}
	if cfg.Missed == 0 {
		tc.Missed = 1
	}
	format := redisio.Native(tickCodec{cfg.Location})
	base := append(
		[]flow.StageOption(p.wrong),
		flow.ChunkSize(p.group.MaxCount),
		flow.Redelivers(),
		flow.KeepsDeadLetters(),
		flow.MaxInFlight(cfg.MaxInFlight),
	)
	return flow.NewSource("ticks", func() flow.Reader[Tick] {
		return &ticksReader{streamReader: newStreamReader(rdb, p, format), rdb: rdb, cfg: tc}
	}, append(base, opts...)...)
}

// ticksReader is the running side of Ticks: that of Stream, and a ticker that writes what it reads.
type ticksReader struct {
	*streamReader[Tick]
	rdb    redis.UniversalClient
	cfg    redisio.TickerConfig
	ticker *redisio.Keeper
	failed context.Context // done when the ticker has ended by itself
}

// Open makes the group before the first tick can come.
func (r *ticksReader) Open(ctx context.Context) error {
	if err := r.streamReader.Open(ctx); err != nil {
		return err
	}
	logger, key := flow.Logger(ctx), r.cfg.Key
	fails := 0
	r.cfg.OnRetry = func(err error, wait time.Duration) {
		if fails++; fails%10 == 1 {
			logger.Warn(
				"ticks: no tick could be written, will try again",
				"key",
				key,
				"wait",
				wait.String(),
				"error",
				err,
			)
		}
	}
	r.cfg.OnEvent = r.events.tell(r.plan.group.OnEvent)
	t, err := redisio.NewTicker(r.rdb, r.cfg)
	if err != nil {
		return flow.Permanent(err)
	}
	var fail context.CancelCauseFunc
	r.failed, fail = context.WithCancelCause(context.WithoutCancel(ctx))
	r.ticker = t.Keep(fail)
	return nil
}

func (r *ticksReader) Read(ctx context.Context, in *flow.Intake[Tick]) error {
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(r.failed, func() { stop(context.Cause(r.failed)) })()
	err := r.streamReader.Read(reading, in)
	if r.failed.Err() != nil && ctx.Err() == nil {
		return flow.Permanent(context.Cause(r.failed))
	}
	return err
}

func (r *ticksReader) Close(ctx context.Context) error {
	if r.ticker != nil {
		_ = r.ticker.Stop() // Read has told
	}
	return r.streamReader.Close(ctx)
}

func tickFields(tick time.Time) redisio.Fields {
	data, _ := tickCodec{}.Append(nil, Tick{tick}) // of a time in this era it never fails
	return redisio.Fields{{Name: "data", Value: data}}
}

// tickCodec is JSON, and the time zone.
type tickCodec struct{ loc *time.Location }

func (c tickCodec) ContentType() string { return c.json().ContentType() }

func (c tickCodec) Append(dst []byte, t Tick) ([]byte, error) {
	return c.json().Append(dst, Tick{t.Time.UTC()})
}

func (c tickCodec) Decode(data []byte) (Tick, error) {
	t, err := c.json().Decode(data)
	if err == nil {
		t.Time = t.Time.In(zone(c.loc))
	}
	return t, err
}

func (tickCodec) json() redisio.Codec[Tick] { return redisio.DefaultCodec[Tick]() }

func zone(loc *time.Location) *time.Location {
	if loc == nil {
		return time.UTC
	}
	return loc
}
