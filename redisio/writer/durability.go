package writer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/probe"
)

// Durability configures the confirmation that a write needs besides the reply of the server. A
// crash or a failover loses entries that were answered but are not yet on disk or on a replica.
// Durability costs a round trip between the server and its replicas, or an fsync, per pipeline, not
// per entry.
//
// A master that returns before its Sentinels have demoted it confirms nothing either. With
// min-replicas-to-write 1 on the servers it refuses all writes that would vanish, also those of
// other clients.
//
// No Redis option undoes a write: one that is not confirmed in time may or may not survive.
type Durability struct {
	Replicas int  // number of replicas that must have it in memory (WAIT)
	Fsync    bool // the server must have it on its disk (WAITAOF: Redis 7.2 with appendonly on)
	// Timeout is the longest wait for both. Defaults to 1s, at most 1h.
	Timeout time.Duration
}

const defaultDurable = time.Second

func (d Durability) on() bool { return d.Replicas > 0 || d.Fsync }

func (d Durability) validate(m *redisio.Mistakes) {
	m.If(d.Replicas < 0, "Durability", fmt.Sprintf("asks for %d replicas", d.Replicas), "leave it 0 for none")
	m.If(d.Timeout < 0 || d.Timeout > 0 && d.Timeout < time.Millisecond || d.Timeout > time.Hour, "Durability",
		fmt.Sprintf("has the timeout %v", d.Timeout), "choose 1ms to 1h, or leave it 0 for 1s")
	m.If(d.Timeout > 0 && !d.on(), "Durability", "has a timeout and nothing to wait for",
		"set Replicas or Fsync as well")
}

// readTimeout includes the time that the server waits; 0 means the caller's timeout.
func (d Durability) readTimeout(rdb redis.UniversalClient) time.Duration {
	var base time.Duration
	switch c := rdb.(type) {
	case *redis.Client:
		base = c.Options().ReadTimeout
	case *redis.ClusterClient:
		base = c.Options().ReadTimeout
	}
	if !d.on() || base <= 0 {
		return 0
	}
	return base + 2*d.Timeout
}

// DurabilityError reports an entry that was written, but not confirmed as Config.Durability
// requires. It is ErrUnknownOutcome: the entry is in the stream now, and a failover or crash may
// lose it. Writing it again is safe with a DedupeWindow, and waits again.
type DurabilityError struct {
	Key      string
	Want     Durability
	Replicas int   // that have confirmed
	Fsynced  bool  // whether the server has
	Err      error // if it could not be asked
}

func (e *DurabilityError) Error() string {
	s := fmt.Sprintf(
		"redisio: %q written, but confirmed by %d of %d replicas",
		fault.KeyName(e.Key),
		e.Replicas,
		e.Want.Replicas,
	)
	if e.Want.Fsync {
		s += map[bool]string{true: ", on disk", false: ", not on disk"}[e.Fsynced]
	}
	if e.Err != nil {
		return s + ": " + e.Err.Error()
	}
	return s + fmt.Sprintf(" within %v", e.Want.Timeout)
}

// Is reports a DurabilityError as an unknown outcome.
func (e *DurabilityError) Is(target error) bool { return target == redisio.ErrUnknownOutcome }

// Unwrap returns why it could not be asked.
func (e *DurabilityError) Unwrap() error { return e.Err }

// confirmation has the replies of WAIT and WAITAOF at the end of a pipeline.
type confirmation struct {
	replicas int64
	fsynced  int64
	err      error
}

// add adds the waiting. It must be last, because the server answers no other command meanwhile.
func (d Durability) add(c *chunk, q *confirmation) {
	if len(c.cmds) == 0 {
		return
	}
	if d.Replicas > 0 {
		c.ask(0, func(c *chunk, _ int) {
			n, err := c.replies.number()
			q.replicas, q.err = n, errors.Join(q.err, err)
		}, "wait", d.Replicas, d.Timeout.Milliseconds())
	}
	if d.Fsync {
		c.ask(0, func(c *chunk, _ int) {
			err := c.replies.list(2)
			if err == nil {
				q.fsynced, err = c.replies.number()
			}
			if err == nil {
				_, err = c.replies.number()
			}
			q.err = errors.Join(q.err, err)
		}, "waitaof", 1, 0, d.Timeout.Milliseconds())
	}
}

// judge compares the counts: the server does not report an error if they are too low.
func (q *confirmation) judge(want Durability, p *part, results []redisio.Result) {
	fsynced := q.fsynced >= 1
	if !want.on() || q.err == nil && int(q.replicas) >= want.Replicas && (fsynced || !want.Fsync) {
		return
	}
	e := &DurabilityError{Key: p.key, Want: want, Replicas: int(q.replicas), Fsynced: fsynced, Err: q.err}
	for _, i := range p.index {
		if results[i].Err == nil {
			results[i].Err = e
		}
	}
}

// meet checks whether the client and the server of a writer of key support the durability.
func (d Durability) meet(ctx context.Context, c conn.Client, key string) error {
	if !d.on() {
		return nil
	}
	if !c.Derived {
		return &redisio.ConfigError{
			Type:    "writer.Config",
			Field:   "Durability",
			Problem: fmt.Sprintf("is set for a %T, which does not say which server has a key", c.UniversalClient),
			Fix:     "use a *redis.Client or *redis.ClusterClient",
		}
	}
	if !d.Fsync {
		return nil
	}
	lacks, err := probe.SyncsDisk(ctx, c)
	if lacks {
		return &redisio.PermanentError{
			Op:  "open writer of",
			Key: key,
			Err: fmt.Errorf("fsync needs Redis 7.2 or newer (WAITAOF), with appendonly on: %w", err),
		}
	}
	return err
}
