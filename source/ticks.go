package source

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/schedule"
)

// TicksConfig configures Ticks. Next, Key and Group are required; the zero value of any other field
// selects its default. Package source/cron has a Next for crontab lines.
type TicksConfig struct {
	// Next returns the first tick after a time, or the zero time if there are no more. It must
	// depend on nothing else, because all processes with this Key must agree on it.
	Next func(after time.Time) time.Time
	// Location is the time zone of Tick.Time. Defaults to UTC.
	Location *time.Location

	// Key is the Redis key of the stream of ticks, which must hold nothing else. All processes with
	// this Key must have the same Next.
	Key string
	// Group is the consumer group: each tick goes to one of its members.
	Group string

	// Missed is the maximum number of ticks to make up for, the latest first, that passed while no
	// process was alive. Defaults to 1, at most 1000. Negative means none. A tick that is up to 10s
	// late is not missed.
	Missed int
	// MaxLen is the approximate maximum length of the stream of ticks. Defaults to 1000.
	MaxLen int64

	// MaxInFlight is the maximum number of ticks that this process handles at a time. Defaults to 1.
	// Other members of the group do not wait for it.
	MaxInFlight int
	// MaxDeliveries, DeadKey and Wait are as in StreamConfig.
	MaxDeliveries int
	DeadKey       string
	Wait          time.Duration
	// OnEvent is also called for redisio.EventTickerWaits: the stream's last ID is in the future,
	// so no ticks come until then.
	OnEvent func(redisio.Event)

	// Tuning is as in StreamConfig. Ticks set MaxCount to MaxInFlight and disable DelayedEvery.
	reader.Tuning
}

// Tick is one tick of Ticks.
type Tick struct {
	Time time.Time `json:"time"` // when it was due, in the source's Location
}

// Ticks is a source of ticks, each delivered once across all processes that run it. The processes
// race to write a tick to a Redis stream, with an ID that the stream accepts only once, and share
// the ticks as a consumer group. So a tick is delivered again when its handler fails, or when its
// process dies and the lease expires. The server's clock decides when a tick is due. The very first
// process does not make up for missed ticks.
//
// Message metadata: ID is the tick's time in ms, Time is when it was due.
//
// Order: by time within a process; redelivered ticks come later. Acks: a tick is acknowledged when
// all its output is done. Ends: by drain only. Errors: as for Stream; while Redis is unreachable no
// ticks come.
func Ticks(rdb redis.UniversalClient, cfg TicksConfig, opts ...flow.StageOption) flow.Source[Tick] {
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 1
	}
	sc := StreamConfig[Tick]{
		Key: cfg.Key, Group: cfg.Group, Start: redisio.StartEnd(),
		MaxDeliveries: cfg.MaxDeliveries, DeadKey: cfg.DeadKey,
		Wait: cfg.Wait, OnEvent: cfg.OnEvent, Tuning: cfg.Tuning,
	}
	sc.MaxCount, sc.DelayedEvery = max(cfg.MaxInFlight, 1), -1 // ticks do not use the schedule
	p := sc.plan(rdb)
	p.wrong.If(cfg.Next == nil, "Next", "is nil",
		"give a function that returns the first tick after a time, or use cron.Source")
	p.wrong.Is(cfg.Missed > 1000, "Missed", cfg.Missed, "choose up to 1000")
	p.wrong.Negative("MaxLen", cfg.MaxLen, "leave it 0 for 1000")
	tc := schedule.TickerConfig{
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
	base := []flow.StageOption{
		flow.InvalidError(p.wrong.Err()),
		flow.ChunkSize(p.group.MaxCount),
		flow.Traits{Redelivers: true, DeadLetters: true, DeadLettersTo: p.deadLettersTo()},
		flow.MaxInFlight(cfg.MaxInFlight),
	}
	return flow.NewSource("ticks", func() flow.Reader[Tick] {
		return &ticksReader{streamReader: newStreamReader(rdb, p, format), rdb: rdb, cfg: tc}
	}, append(base, opts...)...)
}

// ticksReader is the running part of Ticks: a Stream reader, and a ticker that writes its entries.
type ticksReader struct {
	*streamReader[Tick]
	rdb    redis.UniversalClient
	cfg    schedule.TickerConfig
	ticker *schedule.Keeper
	failed context.Context // cancelled when the ticker has ended by itself
}

// Open creates the group before the first tick can be written.
func (r *ticksReader) Open(ctx context.Context) error {
	if err := r.streamReader.Open(ctx); err != nil {
		return err
	}
	logger, key := flow.Logger(ctx), r.cfg.Key
	fails := 0
	r.cfg.OnRetry = func(err error, wait time.Duration) {
		if fails++; fails%10 == 1 {
			logger.Warn("ticks: write failed, retrying", "key", key, "wait", wait.String(), "error", err)
		}
	}
	r.cfg.OnEvent = r.events.tell(r.plan.group.OnEvent)
	t, err := schedule.NewTicker(r.rdb, r.cfg)
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
		_ = r.ticker.Stop() // Read has returned the error
	}
	return r.streamReader.Close(ctx)
}

func tickFields(tick time.Time) redisio.Fields {
	data, _ := tickCodec{}.Append(nil, Tick{tick}) // never fails for a time in this era
	return redisio.Fields{{Name: "data", Value: data}}
}

// tickCodec encodes ticks as JSON and sets their time zone.
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
