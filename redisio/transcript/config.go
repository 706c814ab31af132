package transcript

import (
	"cmp"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/acl"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
)

// Config configures a Store. Prefix is required; the zero value of any other field is its default.
type Config struct {
	// Prefix is the beginning of all keys, before a colon. It must have a hash tag, as in
	// "{answers}:durable", so that the keys of a transcript share a slot of a cluster.
	Prefix string
	Limits
	// Patience is how long a call is repeated while Redis is unavailable. Defaults to 10s.
	// Negative disables repetitions.
	Patience time.Duration
}

// Limits bound each transcript. The zero value of any field is its default. All processes should
// have the same limits.
type Limits struct {
	// MaxLen is how many entries a transcript keeps. The oldest ones beyond it are deleted. Defaults
	// to 10,000.
	MaxLen int
	// MaxBytes is how many bytes of data a transcript keeps, in the same way. Defaults to 4 MiB.
	MaxBytes int64
	// MaxPart is the largest size of a value in bytes. A larger one is a *TooLargeError. Defaults to
	// 256 KiB, at most MaxBytes.
	MaxPart int
	// TTL is how long an open transcript lives after the last sign of life of its writer. Defaults to
	// 1h.
	TTL time.Duration
	// Keep is how long a transcript lives after its end. Defaults to 15m.
	Keep time.Duration
	// MaxAttempts is how many writers may claim a reply, one after the other. Then it fails. A
	// restart of a writer is a claim, too. Defaults to 10.
	MaxAttempts int
}

const (
	defaultLen      = 10_000
	defaultBytes    = 4 << 20
	defaultPart     = 256 << 10
	defaultAttempts = 10
	mostBytes       = 256 << 20
	mostLife        = 365 * 24 * time.Hour

	indexLen = 1000 // names that Recent knows
	indexAge = 24 * time.Hour

	mostProducers = 100 // of a log: it forgets others
	mostName      = 512 // bytes of a transcript's name
)

// Validate reports all mistakes at once, each as a *ConfigError. It needs no server.
func (c Config) Validate() error {
	m := redisio.MistakesOf("transcript.Config")
	m.Empty("Prefix", c.Prefix, "name the transcripts, as in {answers}:durable")
	m.If(c.Prefix != "" && redisio.HashTag(c.Prefix) == c.Prefix, "Prefix", "has no hash tag",
		"put a part of it in braces, as in {answers}:durable")
	m.Negative("MaxLen", int64(c.MaxLen), "leave it 0 for 10,000 entries")
	m.Is(c.MaxBytes < 0 || c.MaxBytes > mostBytes, "MaxBytes", c.MaxBytes, "choose up to 256 MiB, or 0 for 4 MiB")
	m.Is(c.MaxPart < 0 || int64(c.MaxPart) > cmp.Or(c.MaxBytes, defaultBytes), "MaxPart", c.MaxPart,
		"choose up to MaxBytes, or 0 for 256 KiB")
	m.Is(badLife(c.TTL), "TTL", c.TTL, "choose 1ms to 8760h, or 0 for 1h")
	m.Is(badLife(c.Keep), "Keep", c.Keep, "choose 1ms to 8760h, or 0 for 15m")
	m.Negative("MaxAttempts", int64(c.MaxAttempts), "leave it 0 for 10 attempts")
	return m.Err()
}

func badLife(d time.Duration) bool {
	return d < 0 || d > 0 && d < time.Millisecond || d > mostLife
}

// Store keeps transcripts. It uses the caller's client unchanged, has nothing to close, and all its
// methods may be called concurrently.
type Store struct {
	rdb redis.UniversalClient // the caller's: never closed
	cfg Config
}

// New checks the configuration. It does no I/O.
func New(rdb redis.UniversalClient, cfg Config) (*Store, error) {
	if err := errors.Join(check.NeedClient(rdb, "transcript.New"), cfg.Validate()); err != nil {
		return nil, err
	}
	cfg.MaxLen = cmp.Or(cfg.MaxLen, defaultLen)
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, defaultBytes)
	cfg.MaxPart = cmp.Or(cfg.MaxPart, int(min(defaultPart, cfg.MaxBytes)))
	cfg.TTL = cmp.Or(cfg.TTL, time.Hour)
	cfg.Keep = cmp.Or(cfg.Keep, 15*time.Minute)
	cfg.MaxAttempts = cmp.Or(cfg.MaxAttempts, defaultAttempts)
	cfg.Patience = cmp.Or(cfg.Patience, 10*time.Second)
	return &Store{rdb: rdb, cfg: cfg}, nil
}

// Config returns the configuration with its defaults.
func (s *Store) Config() Config { return s.cfg }

// Access returns the rights that a Store needs, on all transcripts of the prefix.
func (c Config) Access() redisio.Access {
	a := acl.Of(nil, "del", "eval", "evalsha", "hdel", "hget", "hgetall", "hincrby", "hmget", "hset", "pexpire",
		"pexpireat", "time", "xadd", "xrange", "xread", "xinfo|stream", "xrevrange", "xtrim", "zadd", "zrem",
		"zremrangebyrank", "zremrangebyscore", "zrevrange")
	a.Writes = []string{redisio.KeyPattern(c.Prefix) + ":*"}
	return a
}

// StreamKey returns the key of a transcript's stream. Read it, but write to it only by the Store.
func (s *Store) StreamKey(id string) string { return s.cfg.Prefix + ":log:" + id }

// StopsKey returns the key of a stream that names, in the field "data", each transcript that was
// ended or deleted by another process than its writer.
func (s *Store) StopsKey() string { return s.cfg.Prefix + ":stops" }

func (s *Store) stateKey(id string) string { return s.cfg.Prefix + ":state:" + id }

func (s *Store) indexKey() string { return s.cfg.Prefix + ":recent" }

// pair returns the keys of most scripts.
func (s *Store) pair(id string) []string { return []string{s.stateKey(id), s.StreamKey(id)} }
