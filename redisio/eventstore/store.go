package eventstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// Store is an event store. It is safe for concurrent use, has no connections of its own and nothing
// to close. All of its commands may be repeated, so the retries of the caller's client do no harm.
type Store[E any] struct {
	rdb redis.UniversalClient // the caller's: never closed
	cfg Config[E]
}

// New checks the configuration. It does no I/O.
func New[E any](rdb redis.UniversalClient, cfg Config[E]) (*Store[E], error) {
	if err := errors.Join(check.NeedClient(rdb, "eventstore.New"), cfg.Validate()); err != nil {
		return nil, err
	}
	return &Store[E]{rdb: rdb, cfg: cfg.withDefaults()}, nil
}

// Config returns the configuration with its defaults.
func (s *Store[E]) Config() Config[E] { return s.cfg }

// Open checks that the server keeps the store, and marks its logs. It is optional: an append checks
// and marks the log that it writes to. Open returns an *EvictableError if a full server may delete
// logs, a *ForeignError for a key that belongs to something else, and a *PartitionsError if the
// store has another number of partitions.
func (s *Store[E]) Open(ctx context.Context) error {
	if err := s.evictable(ctx); err != nil {
		return err
	}
	for p := range s.cfg.Partitions {
		if _, err := s.write(ctx, "open", script.Append, s.keysOf(p, ""), s.head("", "", 0)...); err != nil {
			return err
		}
	}
	return nil
}

// evictable reports a maxmemory-policy that deletes keys without an expiry. Without the right to ask,
// nothing is known.
func (s *Store[E]) evictable(ctx context.Context) error {
	look := func(ctx context.Context, rdb redis.UniversalClient) error {
		info, err := rdb.Info(ctx, "memory").Result()
		if err != nil {
			return nil
		}
		_, rest, _ := strings.Cut(info, "maxmemory_policy:")
		policy, _, _ := strings.Cut(rest, "\n")
		if policy = strings.TrimSpace(policy); strings.HasPrefix(policy, "allkeys-") {
			return &EvictableError{Store: s.cfg.Name, Policy: policy}
		}
		return nil
	}
	if c, ok := s.rdb.(*redis.ClusterClient); ok {
		err := c.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return look(ctx, node) })
		if e := (*EvictableError)(nil); errors.As(err, &e) {
			return e
		}
		return nil
	}
	return look(ctx, s.rdb)
}

// Partition returns the partition of an aggregate. If its name has a text in braces, only this text
// counts, as in Redis keys: {tenant-7}alice and {tenant-7}bob share a partition.
func (s *Store[E]) Partition(aggregate string) int {
	return int(xxhash.Sum64String(redisio.HashTag(aggregate)) % uint64(s.cfg.Partitions))
}

// Tag returns the beginning of all keys of a partition, {name:p}. Keys that begin with it share the
// hash slot of the partition, so one script may write both.
func (s *Store[E]) Tag(partition int) string {
	return "{" + s.cfg.Name + ":" + strconv.Itoa(partition) + "}"
}

// Log returns the key of the log of a partition: a stream with the events of all its aggregates, in
// order. Read it from [Start] on, by source.Tail, source.Stream or package gateways/projection.
func (s *Store[E]) Log(partition int) string { return s.Tag(partition) + "log" }

// Logs returns the keys of the logs of all partitions.
func (s *Store[E]) Logs() []string {
	logs := make([]string, s.cfg.Partitions)
	for p := range logs {
		logs[p] = s.Log(p)
	}
	return logs
}

// Start is the position behind the mark of a log, where its first event follows.
var Start = redisio.StartID(redisio.ID{Seq: 1})

func (s *Store[E]) index(aggregate string) string {
	return s.Tag(s.Partition(aggregate)) + "a:" + aggregate
}

// keysOf returns the keys that an append to a partition always has.
func (s *Store[E]) keysOf(partition int, id string) []string {
	return []string{s.Log(partition), s.Tag(partition) + "once:" + id}
}

// head returns the arguments that an append always has.
func (s *Store[E]) head(id, fingerprint string, events int) []any {
	return []any{s.cfg.Name, s.cfg.Partitions, id, fingerprint, s.cfg.Remember.Milliseconds(),
		s.cfg.MaxBetween, maxBetweenBytes, events}
}

const maxBetweenBytes = 1 << 20

// call runs a script until the server has answered, and returns the reply.
func (s *Store[E]) call(ctx context.Context, op, text string, keys []string, args ...any) ([]any, error) {
	reply, _, err := s.eval(ctx, text, keys, args)
	if err != nil {
		return nil, check.KeyError(op, keys[0], err)
	}
	return reply, s.refused(keys[0], reply)
}

// write is call for a script that writes. Its errors say whether it may have written.
func (s *Store[E]) write(ctx context.Context, op, text string, keys []string, args ...any) ([]any, error) {
	reply, sent, err := s.eval(ctx, text, keys, args)
	switch {
	case err != nil && sent:
		return nil, &fault.OutcomeError{Outcome: redisio.ErrUnknownOutcome, Cause: check.KeyError(op, keys[0], err)}
	case err != nil:
		return nil, &fault.OutcomeError{Outcome: redisio.ErrNotWritten, Cause: check.KeyError(op, keys[0], err)}
	}
	return reply, s.refused(keys[0], reply)
}

// single is a command that the client itself does not send again, so that eval knows of each try.
type single struct{ *redis.Cmd }

func (single) NoRetry() bool { return true }

// eval runs a script. sent reports that a try may have reached the server without an answer. A
// cluster client repeats commands in any case. Then only an answer of the script itself says that no
// try was executed.
func (s *Store[E]) eval(
	ctx context.Context, text string, keys []string, args []any,
) (reply []any, sent bool, err error) {
	all := []any{"eval", text, len(keys)}
	for _, k := range keys {
		all = append(all, k)
	}
	all = append(all, args...)
	_, known := s.rdb.(*redis.Client)
	err = fault.WaitFor(ctx, max(s.cfg.Patience, 0), func() (err error) {
		cmd := redis.NewCmd(ctx, all...)
		cmd.SetFirstKeyPos(3)
		_ = s.rdb.Process(ctx, single{cmd}) // Slice returns the error
		reply, err = cmd.Slice()
		ran := fault.Judge(err) == fault.Permanent || fault.IsFull(err)
		sent = sent || err != nil && !ran && !(known && (fault.IsServerSaid(err) || fault.NeverSent(err)))
		return err
	})
	if err == nil && len(reply) == 0 {
		err = errors.New("an empty reply")
	}
	return reply, sent, err
}

// refused returns the error that a reply stands for.
func (s *Store[E]) refused(log string, reply []any) error {
	word := func(i int) string {
		if i >= len(reply) {
			return ""
		}
		v, _ := reply[i].(string)
		return v
	}
	switch word(0) {
	case "foreign":
		return &ForeignError{Store: s.cfg.Name, Key: word(1), Problem: word(2)}
	case "partitions":
		n, _ := strconv.Atoi(word(2)) // 0 if the mark has no number
		return &PartitionsError{Store: s.cfg.Name, Have: n, Want: s.cfg.Partitions}
	case "missing":
		return &MissingError{ID: word(1), Log: log}
	case "ok", "again", "conflict", "used":
		return nil
	}
	return fmt.Errorf("eventstore: unknown reply %.40q", word(0))
}
