package redisio

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Capabilities are commands and options beyond Redis 7.0 that a server has. Nothing here needs
// them. A GroupReader uses Claim and MaxSize and finds out about them by itself, see
// GroupConfig.Capabilities; a Writer uses IDMP, see WriterConfig.DedupeWindow.
//
// A GroupReader does not use XNACK. It moves released entries to ReleasedConsumer, on every server. So it
// can say when they are due, and that their history is known.
type Capabilities struct {
	Claim   bool // XREADGROUP … CLAIM (Redis 8.4): reclaiming and reading in one call
	XNack   bool // XNACK (8.8): giving entries back without setting idle times
	XAckDel bool // XACKDEL (8.2): acking and deleting in one step
	IDMP    bool // XADD … IDMP (8.6): retries of writes that don't duplicate
	MaxSize bool // XREADGROUP … MAXSIZE (8.10): replies bounded in bytes
}

// Probe finds out what the server has by trying it on a scratch key of its own, which it deletes. Version
// numbers say nothing: forks and services report what they like. Probe once per client and keep
// the answer; after a failover to other servers, probe again.
func Probe(ctx context.Context, rdb redis.UniversalClient) (c Capabilities, err error) {
	key := "redisio:probe:{" + rand.Text()[:12] + "}"
	if err := rdb.XGroupCreateMkStream(ctx, key, "g", "0").Err(); err != nil {
		return c, fmt.Errorf("redisio: probe: %w", err)
	}
	defer func() {
		// Also when ctx has ended: a scratch key is not to be left behind.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if delErr := rdb.Del(clean, key).Err(); delErr != nil && err == nil {
			err = fmt.Errorf("redisio: probe: delete scratch key %q: %w", key, delErr)
		}
	}()
	for _, p := range []struct {
		has  *bool
		args []any
	}{
		{&c.Claim, []any{"xreadgroup", "group", "g", "c", "count", 1, "claim", 1000, "streams", key, ">"}},
		{&c.MaxSize, []any{"xreadgroup", "group", "g", "c", "count", 1, "maxsize", 1000, "streams", key, ">"}},
		{&c.XNack, []any{"xnack", key, "g", "SILENT", "ids", 1, "1-1"}},
		{&c.XAckDel, []any{"xackdel", key, "g", "KEEPREF", "ids", 1, "1-1"}},
		{&c.IDMP, []any{"xadd", key, "IDMP", "p", "i", "*", "f", "v"}},
	} {
		err := rdb.Do(ctx, p.args...).Err()
		switch {
		case err == nil || errors.Is(err, redis.Nil):
			*p.has = true
		case !isServerSaid(err):
			return c, fmt.Errorf("redisio: probe: %w", err)
		case judge(err) != permanent:
			return c, fmt.Errorf("redisio: probe: %w", err) // it can't answer now: no verdict
		}
	}
	return c, nil
}
