package schedule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
)

// TickerConfig configures a Ticker. Key, Next and Fields are required.
type TickerConfig struct {
	Key string // the stream for the ticks, which has no other entries
	// Next returns the first tick after a time. All tickers of a key must agree on it.
	Next func(after time.Time) time.Time
	// Fields returns the fields of a tick's entry.
	Fields func(tick time.Time) redisio.Fields
	// Missed is the maximum number of ticks to write late if no ticker ran when they were due. The
	// latest ones are written. Defaults to 0.
	Missed int
	// MaxLen is the approximate number of ticks that the stream keeps. Defaults to 1000.
	MaxLen int64
	// OnRetry receives the error and the wait before the next attempt. It must not block.
	OnRetry func(err error, wait time.Duration)
	// OnEvent receives EventTickerWaits at the beginning of a wait and every ten minutes: the last
	// ID of the stream is in the future, and until then the server accepts no tick. It must not
	// block.
	OnEvent func(redisio.Event)
}

// maxMissed bounds the number of ticks that are written late: as many as the stream keeps by
// default.
const maxMissed = 1000

// onTime is how late a tick may be without counting as missed.
const onTime = 10 * time.Second

// Validate reports all mistakes at once, each as a *ConfigError. It needs no server.
func (c TickerConfig) Validate() error {
	m := redisio.MistakesOf("TickerConfig")
	m.Empty("Key", c.Key, "name the stream that the ticks go to")
	m.If(c.Next == nil, "Next", "is nil", "give a function that returns the first tick after a time")
	m.If(c.Fields == nil, "Fields", "is nil", "give a function that makes the entry of a tick")
	m.Is(c.Missed < 0 || c.Missed > maxMissed, "Missed", c.Missed, fmt.Sprintf("choose 0 to %d", maxMissed))
	m.Negative("MaxLen", c.MaxLen, "leave it 0 for 1000")
	return m.Err()
}

// Ticker writes an entry to a stream at certain times, once for all processes that run one. The
// entry's ID is the time of the tick, such as "1732360000000-0", and a stream accepts no ID twice,
// and no smaller one. The server's clock determines the time.
type Ticker struct {
	cfg  TickerConfig
	rdb  redis.UniversalClient // the caller's: never closed
	last time.Time             // the last tick known to be written or skipped
	told time.Time             // when OnEvent was last called during this wait
}

// NewTicker checks the configuration. It does no I/O.
func NewTicker(rdb redis.UniversalClient, cfg TickerConfig) (*Ticker, error) {
	if err := errors.Join(check.NeedClient(rdb, "NewTicker"), cfg.Validate()); err != nil {
		return nil, err
	}
	cfg.MaxLen = cmp.Or(cfg.MaxLen, 1000)
	return &Ticker{cfg: cfg, rdb: rdb}, nil
}

// scriptClock: KEYS stream. Returns the server's time and the stream's last ID, in ms; -1 for an
// empty stream.
const scriptClock = `
local t = redis.call('TIME')
local now, last = t[1] * 1000 + math.floor(t[2] / 1000), -1
local kind = redis.call('TYPE', KEYS[1])['ok']
if kind ~= 'none' and kind ~= 'stream' then return redis.error_reply('WRONGTYPE '..KEYS[1]..' holds a '..kind) end
if kind == 'stream' then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = tonumber((info[i+1]:match('^%d+'))) or -1 end
  end
  local e = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1) -- the in-process server knows no more
  if e[1] then last = math.max(last, tonumber((e[1][1]:match('^%d+')))) end
end
if last == 0 then last = -1 end
`

const scriptNow = scriptClock + `return {now, last}`

// scriptTick: KEYS stream. ARGV tick (ms), maxlen, fields… Writes a tick unless the stream has one
// as late or later; returns 1 if it did.
const scriptTick = scriptClock + `
if last >= tonumber(ARGV[1]) then return 0 end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], ARGV[1]..'-0', unpack(ARGV, 3))
return 1`

// Run writes ticks until ctx ends, and returns the cause. While Redis is unreachable it retries
// with backoff. Only a *PermanentError ends it before ctx does. One goroutine at a time may run it.
func (t *Ticker) Run(ctx context.Context) error {
	fails := 0
	var answers redisio.Patience
	for ctx.Err() == nil {
		wait, err := t.step(ctx)
		if err = answers.Look(err); err == nil {
			answers.Worked()
		}
		switch {
		case err != nil && ctx.Err() != nil:
		case redisio.IsPermanent(err):
			return err
		case err != nil:
			fails++
			wait = fault.Backoff(fails)
			if t.cfg.OnRetry != nil {
				fault.Notify("TickerConfig.OnRetry", func() { t.cfg.OnRetry(err, wait) })
			}
		default:
			fails = 0
		}
		fault.Sleep(ctx, nil, wait)
	}
	return context.Cause(ctx)
}

// Keep runs the ticker in the background until it is stopped. If a *PermanentError ends it before
// that, it calls ended, if not nil, with the error.
func (t *Ticker) Keep(ended func(error)) *Keeper { return keep(t.Run, ended) }

// longestNap bounds a sleep, so that a change of the server's clock or of the local one is noticed.
const longestNap = 10 * time.Second

// step writes the ticks that are due and returns how long to sleep until the next one.
func (t *Ticker) step(ctx context.Context) (time.Duration, error) {
	clock, err := t.rdb.Eval(ctx, scriptNow, []string{t.cfg.Key}).Int64Slice()
	if err == nil && len(clock) != 2 {
		err = &resp.ReplyError{Offset: 0, Problem: "the script answered something else than two numbers"}
	}
	if err != nil {
		return 0, check.KeyError("tick", t.cfg.Key, err)
	}
	now := time.UnixMilli(clock[0])
	if t.last.Sub(now) > tolerated {
		t.last = time.Time{} // the key may have been deleted meanwhile
	}
	if clock[1] >= 0 && time.UnixMilli(clock[1]).After(t.last) {
		t.last = time.UnixMilli(clock[1])
	}
	if t.last.IsZero() {
		t.last = now // the first ticker ever: nothing was missed
	}
	var due []time.Time
	var next time.Time
	err = fault.Consult("TickerConfig.Next", func() {
		due, next = dueTicks(t.cfg.Next, t.last, now, t.cfg.Missed), t.cfg.Next(now)
	})
	if err != nil {
		return 0, err
	}
	for _, tick := range due {
		var fields redisio.Fields
		if err := fault.Consult("TickerConfig.Fields", func() { fields = t.cfg.Fields(tick) }); err != nil {
			return 0, err
		}
		args := []any{strconv.FormatInt(tick.UnixMilli(), 10), t.cfg.MaxLen}
		for _, f := range fields {
			args = append(args, f.Name, f.Value)
		}
		if err := t.rdb.Eval(ctx, scriptTick, []string{t.cfg.Key}, args...).Err(); err != nil {
			return 0, check.KeyError("tick", t.cfg.Key, err)
		}
		t.last = tick
	}
	if now.After(t.last) {
		t.last = now // ticks not written by now never are
	}
	if ahead := t.last.Sub(now); ahead > tolerated {
		t.waits(
			ahead,
			fmt.Errorf("redisio: the last ID of %q is %v ahead of the server's clock, so no tick can be written; "+
				"delete the key, or choose another one", fault.KeyName(t.cfg.Key), ahead.Round(time.Second)),
		)
	} else if next.IsZero() {
		t.waits(0,
			fmt.Errorf("redisio: there is no tick for %q after %s; check Next", fault.KeyName(t.cfg.Key),
				now.UTC().Format(time.RFC3339)))
	} else {
		t.told = time.Time{}
	}
	if next.IsZero() { // never again
		return longestNap, nil
	}
	wait := max(next.Sub(now), time.Millisecond)
	if wait > longestNap {
		return longestNap - rand.N(longestNap/10), nil
	}
	return wait, nil
}

// tolerated is how far the stream's last ID may be ahead of the clock without an event, because
// clocks of replicas differ.
const tolerated = time.Second

// tellAgain is the interval at which OnEvent is called during a wait.
const tellAgain = 10 * time.Minute

// waits reports to OnEvent that no tick can be written for d.
func (t *Ticker) waits(d time.Duration, why error) {
	if t.cfg.OnEvent == nil || !t.told.IsZero() && time.Since(t.told) < tellAgain {
		return
	}
	t.told = time.Now()
	e := redisio.Event{Kind: redisio.EventTickerWaits, Key: t.cfg.Key, Err: why, Wait: d}
	fault.Notify("TickerConfig.OnEvent", func() { t.cfg.OnEvent(e) })
}

// dueTicks returns the ticks after last and up to now that are to be written, oldest first. With
// missed 0 that is the last tick, if it is on time. Otherwise it is the last missed ticks.
//
// A ticker that was down for a year does not walk through all of it. It looks at the last minute,
// and further back only while it has too few ticks.
func dueTicks(next func(time.Time) time.Time, last, now time.Time, missed int) []time.Time {
	want := max(missed, 1)
	for window := time.Minute; ; window *= 4 {
		from := now.Add(-window)
		whole := !from.After(last)
		if whole {
			from = last
		}
		var ticks []time.Time
		for at := next(from); !at.IsZero() && !at.After(now); at = next(at) {
			ticks = append(ticks, at)
			if len(ticks) >= 2*want+64 { // keep only the last ones, at constant amortized cost
				ticks = slices.Delete(ticks, 0, len(ticks)-want)
			}
		}
		if len(ticks) < want && !whole {
			continue
		}
		ticks = ticks[max(0, len(ticks)-want):]
		if missed == 0 && len(ticks) > 0 && now.Sub(ticks[0]) > onTime {
			return nil
		}
		return ticks
	}
}
