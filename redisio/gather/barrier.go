package gather

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/acl"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

// BarrierConfig configures a Barrier. Name and Expect are required; the zero value of any other
// field is its default.
type BarrierConfig struct {
	// Name is the name of the barrier, with its phase, as in "sort:42:sampled".
	Name string
	// Expect is how many participants reach the barrier.
	Expect int
	// TTL is how long the barrier is kept after an arrival. Choose it above the longest time between
	// two of them. Defaults to 24h.
	TTL time.Duration
	// Patience is how long Arrive retries while the server cannot answer. Defaults to 30s. Negative
	// means that it does not retry.
	Patience time.Duration
}

// maxExpect bounds the memory of a barrier, and of the marks of a stream.
const maxExpect = 100_000

// maxName bounds the name of a participant.
const maxName = 200

// Validate reports all mistakes at once, each as a *ConfigError. It needs no server.
func (c BarrierConfig) Validate() error {
	m := redisio.MistakesOf("gather.BarrierConfig")
	name(m, "Name", c.Name)
	m.Is(c.Expect < 1 || c.Expect > maxExpect, "Expect", c.Expect, "choose 1 to 100000 participants")
	span(m, "TTL", c.TTL, "24h")
	return m.Err()
}

func (c BarrierConfig) keys() []string {
	return []string{redisio.Beside(c.Name, ":arrived"), redisio.Beside(c.Name, ":reached")}
}

// Access returns the rights to arrive at the barrier, to wait for it and to delete it.
func (c BarrierConfig) Access() redisio.Access {
	k := c.keys()
	return acl.Of(k, "del", "eval", "pexpire", "sadd", "scard", "sismember", "xadd", "xlen").
		And(reader.TailConfig{Key: k[1]}.Access())
}

// Barrier is a point that a number of participants reach, in any number of processes: "all of phase
// 1 is done". Its state is in Redis, so it survives all of them. All methods may be called
// concurrently. It uses the caller's client unchanged, and has nothing to close.
type Barrier struct {
	rdb redis.UniversalClient // the caller's: never closed
	cfg BarrierConfig
}

// NewBarrier checks the configuration. It does no I/O.
func NewBarrier(rdb redis.UniversalClient, cfg BarrierConfig) (*Barrier, error) {
	if err := errors.Join(check.NeedClient(rdb, "gather.NewBarrier"), cfg.Validate()); err != nil {
		return nil, err
	}
	cfg.TTL, cfg.Patience = cmp.Or(cfg.TTL, 24*time.Hour), cmp.Or(cfg.Patience, 30*time.Second)
	return &Barrier{rdb: rdb, cfg: cfg}, nil
}

// Arrive counts a participant, once however often it arrives. It does not wait. It returns how many
// have arrived. The error is ErrTooMany if as many others as expected have arrived.
func (b *Barrier) Arrive(ctx context.Context, participant string) (arrived int, err error) {
	k := b.cfg.keys()
	return count(ctx, b.rdb, b.cfg.Patience, "arrive at", participant, k[0], func() *redis.Cmd {
		return b.rdb.Eval(ctx, script.Arrive, k, participant, b.cfg.Expect, b.cfg.TTL.Milliseconds())
	})
}

// count calls a script that counts a participant. The script returns their number, and 1 for one too many.
func count(
	ctx context.Context, rdb redis.UniversalClient, patience time.Duration, op, who, key string, call func() *redis.Cmd,
) (n int, err error) {
	if who == "" || len(who) > maxName {
		return 0, &TooLargeError{What: "the name of a participant, which is not empty", Size: len(who), Limit: maxName}
	}
	var reply []int64
	err = fault.WaitFor(ctx, max(patience, 0), func() (err error) {
		if reply, err = call().Int64Slice(); err == nil && len(reply) != 2 {
			err = fmt.Errorf("a reply of %d numbers", len(reply))
		}
		return err
	})
	if err != nil {
		return 0, check.KeyError(op, key, err)
	}
	if reply[1] == 1 {
		err = fmt.Errorf("%w: %q besides %d others", ErrTooMany, who, reply[0])
	}
	return int(reply[0]), err
}

// Wait blocks until all participants have arrived, or until ctx ends. It needs a connection of its
// own, and does not poll: the server answers when the last one arrives. It notices the end of ctx
// at once.
func (b *Barrier) Wait(ctx context.Context) (err error) {
	key := b.cfg.keys()[1]
	tail, err := reader.NewTail(b.rdb, reader.TailConfig{Key: key, Wait: max(b.cfg.Patience, 0)})
	if err != nil {
		return err
	}
	if err := tail.Open(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tail.Close(context.WithoutCancel(ctx))) }()
	var batch redisio.Batch
	return tail.Read(ctx, 1, 0, &batch)
}

// Reached reports whether all participants have arrived.
func (b *Barrier) Reached(ctx context.Context) (bool, error) {
	key := b.cfg.keys()[1]
	n, err := b.rdb.XLen(ctx, key).Result()
	return n > 0, check.ReadError(key, err)
}

// Delete deletes the barrier, whole or not at all. The count of participants that arrive later
// begins at 0. A Wait that has not seen the barrier reached waits for the new one.
func (b *Barrier) Delete(ctx context.Context) error {
	k := b.cfg.keys()
	return check.KeyError("delete", k[0], b.rdb.Del(ctx, k...).Err())
}
