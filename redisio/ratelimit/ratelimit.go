package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/acl"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// Config configures a Limiter. Key, Most and Per are required; the zero value of any other field is
// its default.
type Config struct {
	// Key is the Redis key of the counter. All processes with the same key share the limit, and
	// should have the same Most and Per.
	Key string
	// Most is the number of units that all processes together may take in a window.
	Most int
	// Per is the length of a window, at least 1ms. A window begins when its first unit is taken. Up
	// to 2·Most units may be taken around the moment between two windows; a shorter window with
	// fewer units spreads them more evenly.
	Per time.Duration
	// Patience is how long Take retries while the server cannot answer. Defaults to 30s. Negative
	// means that it does not retry.
	Patience time.Duration
	// OnEvent is called with EventLimiterWaits when the server cannot answer, once until it has
	// answered again. It must be quick. Defaults to nil.
	OnEvent func(redisio.Event)
}

// Validate reports all mistakes at once, each as a *ConfigError. It needs no server.
func (c Config) Validate() error {
	m := redisio.MistakesOf("ratelimit.Config")
	m.Empty("Key", c.Key, "name the limit, as in limits:geocoder")
	m.Is(c.Most < 1 || c.Most > mostUnits, "Most", c.Most, fmt.Sprintf("choose 1 to %d units", mostUnits))
	m.Is(c.Per < time.Millisecond || c.Per > fault.MaxDelay, "Per", c.Per, "choose 1ms to 100 years")
	return m.Err()
}

// mostUnits is the largest limit. Numbers in Lua are floats, and counters must stay exact.
const mostUnits = 1 << 40

// Access returns the rights that a Limiter needs. INCREX is used if the user has it, but servers
// without the command accept no rule that names it.
func (c Config) Access() redisio.Access {
	return acl.Of([]string{c.Key}, "eval", "get", "incrby", "pexpire", "pttl")
}

// Limiter is a limit that many processes share. operators.ThrottleShared uses it. It counts in one
// Redis key with an expiry, by fixed windows, so it needs no cleanup, works on a cluster, and
// depends on the clock of the server only. It uses INCREX where the server has it (Redis 8.8, Valkey
// 9.2) and a script elsewhere, with the same results. All methods may be called concurrently.
//
// It uses the caller's client unchanged, and has nothing to close. If a reply is lost, the units may
// have been taken: the rate is then lower for a window. A server that forgets the key, as after a
// restart without persistence, begins a new window.
type Limiter struct {
	rdb  redis.UniversalClient // the caller's: never closed
	cfg  Config
	how  atomic.Int32
	away atomic.Bool // the server could not answer the last call
}

// How a Limiter counts.
const (
	byTrying = iota // INCREX, to see whether the server has it
	byCommand
	byScript
)

// New checks the configuration. It does no I/O.
func New(rdb redis.UniversalClient, cfg Config) (*Limiter, error) {
	if err := errors.Join(check.NeedClient(rdb, "ratelimit.New"), cfg.Validate()); err != nil {
		return nil, err
	}
	cfg.Patience = cmp.Or(cfg.Patience, 30*time.Second)
	return &Limiter{rdb: rdb, cfg: cfg}, nil
}

// Take takes up to want units, and returns how many it has got. If it has got fewer, wait is the
// time until the next window begins. It does not wait for units. While the server cannot answer, it
// retries for Patience, and then returns the last error.
func (l *Limiter) Take(ctx context.Context, want int) (got int, wait time.Duration, err error) {
	if want <= 0 {
		return 0, 0, nil
	}
	err = fault.WaitFor(ctx, max(l.cfg.Patience, 0), func() (err error) {
		var left time.Duration
		got, left, err = l.take(ctx, min(want, mostUnits))
		l.report(ctx, err)
		wait = 0
		if err == nil && got < want {
			wait = min(max(left, 0), l.cfg.Per) + time.Millisecond // of which the server rounds off a part
		}
		return err
	})
	if err != nil {
		return 0, 0, check.KeyError("take units of", l.cfg.Key, err)
	}
	return got, wait, nil
}

// report tells that the server cannot answer.
func (l *Limiter) report(ctx context.Context, err error) {
	switch v := fault.Judge(err); {
	case v == fault.Fine:
		l.away.Store(false)
	case v == fault.Permanent || ctx.Err() != nil || l.away.Swap(true) || l.cfg.OnEvent == nil:
	default:
		fault.Notify("ratelimit.Config.OnEvent", func() {
			l.cfg.OnEvent(
				redisio.Event{Kind: redisio.EventLimiterWaits, Key: l.cfg.Key, Err: err, Wait: l.cfg.Patience},
			)
		})
	}
}

// take makes one call. left is what is left of the window.
func (l *Limiter) take(ctx context.Context, want int) (got int, left time.Duration, err error) {
	how := l.how.Load()
	if how == byScript {
		return l.runScript(ctx, want)
	}
	got, left, err = l.runCommand(ctx, want)
	switch {
	case err == nil:
		l.how.Store(byCommand)
	case fault.Judge(err) == fault.Permanent && !fault.IsWrongType(err):
		// The server lacks the command, or the user lacks the right.
		if got, left, err = l.runScript(ctx, want); err == nil {
			l.how.Store(byScript)
		}
	}
	return got, left, err
}

func (l *Limiter) runScript(ctx context.Context, want int) (got int, left time.Duration, err error) {
	reply, err := l.rdb.Eval(ctx, script.Limit, []string{l.cfg.Key}, want, l.cfg.Most, l.cfg.Per.Milliseconds()).
		Int64Slice()
	if err == nil && len(reply) != 2 {
		err = fmt.Errorf("a reply of %d numbers", len(reply))
	}
	if err != nil {
		return 0, 0, err
	}
	return int(reply[0]), time.Duration(reply[1]) * time.Millisecond, nil
}

// runCommand uses INCREX. See script.Limit for windows that are too long.
func (l *Limiter) runCommand(ctx context.Context, want int) (got int, left time.Duration, err error) {
	ms := l.cfg.Per.Milliseconds()
	pipe := l.rdb.Pipeline()
	taken := pipe.Do(ctx, "increx", l.cfg.Key, "byint", want, "ubound", l.cfg.Most, "saturate", "px", ms, "enx")
	ttl := pipe.Do(ctx, "pttl", l.cfg.Key)
	_, _ = pipe.Exec(ctx) // each has an error of its own
	reply, err := taken.Int64Slice()
	if err == nil && len(reply) != 2 {
		err = fmt.Errorf("INCREX replied with %d numbers", len(reply))
	}
	if err != nil {
		return 0, 0, err
	}
	got = int(max(reply[1], 0)) // it is negative if the limit was lowered
	ttlMs, err := ttl.Int64()
	if err == nil && (ttlMs == -1 || ttlMs > ms) {
		ttlMs = ms
		err = l.rdb.Do(ctx, "pexpire", l.cfg.Key, ms).Err()
	}
	if err != nil && got == 0 {
		return 0, 0, err
	}
	return got, time.Duration(ttlMs) * time.Millisecond, nil
}
