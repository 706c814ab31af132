package main

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// owner ensures that only one process runs the world. A second one stands by, and takes over when
// the first has ended. Two worlds would each receive half of the players' inputs.
type owner struct {
	rdb  redis.UniversalClient
	me   string
	from time.Time // when it became ours, by the clock of the server
}

const (
	ownerKey = "{" + hub + "}:world" // its owner
	ownFor   = 6 * time.Second
	ownEvery = 1500 * time.Millisecond
)

var errLost = errors.New("game: another process has the world now")

var (
	renewScript = redis.NewScript(
		`if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0`,
	)
	yieldScript = redis.NewScript(
		`if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`,
	)
)

func newOwner(rdb redis.UniversalClient) *owner { return &owner{rdb: rdb, me: rand.Text()} }

// claim waits until this process owns the world. It returns false when ctx is done first. It
// retries when Redis is unavailable, except at the first attempt.
func (o *owner) claim(ctx context.Context, waiting func()) (bool, error) {
	every := time.NewTicker(ownEvery / 3)
	defer every.Stop()
	for told := false; ; told = true {
		free, err := o.rdb.SetNX(ctx, ownerKey, o.me, ownFor).Result()
		switch {
		case ctx.Err() != nil:
			return false, nil
		case free:
			now, err := o.rdb.Time(ctx).Result()
			o.from = now.Truncate(time.Millisecond) // as the times of entries
			return err == nil, err
		case told:
		case err != nil:
			return false, err
		default:
			waiting()
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return false, nil
		}
	}
}

// branch keeps the ownership while the world's graph runs, and stops the graph when it is lost. It
// retries when Redis is unavailable, because no other process can take the world then.
func (o *owner) branch() flow.Branch {
	ticks := source.Every(ownEvery, func(t time.Time) time.Time { return t }, flow.Name("own"))
	return flow.To(ticks, sink.Func(func(ctx context.Context, _ time.Time) error {
		n, err := renewScript.Run(ctx, o.rdb, []string{ownerKey}, o.me, ownFor.Milliseconds()).Int()
		if err == nil && n == 0 {
			return flow.Permanent(errLost)
		}
		return err
	}, flow.Name("renew")))
}

// yield releases the ownership at once.
func (o *owner) yield(ctx context.Context) error {
	return yieldScript.Run(context.WithoutCancel(ctx), o.rdb, []string{ownerKey}, o.me).Err()
}
