package jobstate

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/acl"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/schedule"
)

// Config configures a Store. Name is required; the zero value of any other field is its default.
type Config struct {
	// Name is the name of the queue. Its keys share the hash tag {Name}.
	Name string
	// Keep is how long the state of a job is kept after its end, with its result. Defaults to 24h.
	Keep time.Duration
	// KeepOpen is how long the state of a job is kept that has not ended, after its last change. A
	// worker that receives the job later makes a new state. Defaults to 720h, at least Keep.
	KeepOpen time.Duration
	// MaxAttempts is how often a job is tried. Defaults to 16. Negative means no limit.
	MaxAttempts int
	// MaxQueued limits the jobs of a priority that wait, and those that failed lately. Defaults to
	// 1,000,000. Negative means no limit.
	MaxQueued int64
	// Recent is how many of the newest jobs Recent can list. Defaults to 1000.
	Recent int
}

func (c Config) withDefaults() Config {
	c.Keep = cmp.Or(c.Keep, 24*time.Hour)
	c.KeepOpen = max(cmp.Or(c.KeepOpen, 720*time.Hour), c.Keep)
	c.MaxAttempts = cmp.Or(c.MaxAttempts, 16)
	c.MaxQueued = cmp.Or(c.MaxQueued, 1_000_000)
	c.Recent = cmp.Or(c.Recent, 1000)
	return c
}

// Validate reports all mistakes at once, each as a *redisio.ConfigError. It needs no server.
func (c Config) Validate() error {
	m := redisio.MistakesOf("jobstate.Config")
	m.Empty("Name", c.Name, "name the queue, such as thumbnails")
	m.If(strings.ContainsAny(c.Name, "{}"), "Name", "has braces", "leave them out: all keys share a hash tag anyway")
	m.If(len(c.Name) > 200, "Name", "is longer than 200 bytes", "choose a short name such as thumbnails")
	for name, d := range map[string]time.Duration{"Keep": c.Keep, "KeepOpen": c.KeepOpen} {
		m.Is(d < 0 || d > 0 && d < time.Millisecond || d > maxKeep, name, d, "choose 1ms to 10 years")
	}
	m.Negative("Recent", int64(c.Recent), "leave it 0 for 1000 jobs")
	return m.Err()
}

const maxKeep = 10 * 365 * 24 * time.Hour

// Store keeps the states of the jobs of a queue. It uses the caller's client unchanged, has nothing
// to close, and is safe for concurrent use. All its calls may be repeated.
type Store struct {
	cfg Config
	rdb redis.UniversalClient // the caller's: never closed
}

// New checks the configuration. It does no I/O.
func New(rdb redis.UniversalClient, cfg Config) (*Store, error) {
	if err := errors.Join(check.NeedClient(rdb, "jobstate.New"), cfg.Validate()); err != nil {
		return nil, err
	}
	return &Store{cfg: cfg.withDefaults(), rdb: rdb}, nil
}

// Config returns the configuration with its defaults.
func (s *Store) Config() Config { return s.cfg }

func (c *Config) key(suffix string) string { return "{" + c.Name + "}:" + suffix }

// Stream returns the key of the stream of a priority.
func (c Config) Stream(priority string) string { return c.key("jobs:" + priority) }

// Notices returns the key of the stream of notices.
func (c Config) Notices() string { return c.key("notices") }

func (c *Config) state(id string) string { return c.key("job:" + id) }

func (c *Config) recent() string { return c.key("recent") }

// unique returns the key that holds the job of a unique key, or the key of its state without one.
func (c *Config) unique(id, key string) string {
	if key == "" {
		return c.state(id)
	}
	sum := sha256.Sum256([]byte(key))
	return c.key("key:" + hex.EncodeToString(sum[:16]))
}

// keys returns the keys that all scripts use.
func (c *Config) keys(id, key, priority string) []string {
	return []string{c.state(id), c.Notices(), c.unique(id, key), c.Stream(priority)}
}

// Access returns the rights to submit, watch, work on and cancel the jobs of these priorities. The
// streams themselves are read by readers of a group, which have rights of their own.
func (c Config) Access(priorities ...string) redisio.Access {
	keys := []string{c.Notices(), c.recent()}
	for _, p := range priorities {
		keys = append(keys, schedule.ScheduleKeys(c.Stream(p))...)
	}
	a := acl.Of(keys, "del", "eval", "exists", "get", "hdel", "hget", "hgetall", "hincrby", "hmget", "hset", "hsetnx",
		"pexpire", "set", "time", "xadd", "xdel", "xlen", "xread", "xinfo|groups", "zadd", "zcard", "zrem",
		"zremrangebyrank", "zrevrange")
	a.Writes = append(a.Writes, redisio.KeyPattern(c.key("job:"))+"*", redisio.KeyPattern(c.key("key:"))+"*")
	return a.And()
}

// NewID returns a unique ID that has the time in it.
func NewID(now time.Time) string {
	return fmt.Sprintf("%011x", now.UnixMilli()) + strings.ToLower(rand.Text()[:16])
}

// timeOf returns the time in an ID. ok is false for an ID of another form.
func timeOf(id string) (t time.Time, ok bool) {
	if len(id) != 27 {
		return t, false
	}
	ms, err := strconv.ParseInt(id[:11], 16, 64)
	return time.UnixMilli(ms), err == nil
}

// CheckID reports whether a text can be the ID of a job: 1 to 100 letters, digits, and any of -_.:
func CheckID(id string) bool {
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("-_.:", c) < 0 {
			return false
		}
	}
	return id != "" && len(id) <= 100
}

// Get returns the state of a job. The error is ErrUnknown or ErrExpired if there is none.
func (s *Store) Get(ctx context.Context, id string) (Job, error) {
	jobs, err := s.GetAll(ctx, id)
	if err != nil {
		return Job{}, err
	}
	if jobs[0].ID == "" {
		return Job{}, s.unknown(id, time.Now())
	}
	return jobs[0], nil
}

// GetAll returns the states of jobs, with one round trip. A missing one has no ID.
func (s *Store) GetAll(ctx context.Context, ids ...string) ([]Job, error) {
	jobs := make([]Job, len(ids))
	replies := make([]*redis.MapStringStringCmd, len(ids))
	pipe := s.rdb.Pipeline()
	for i, id := range ids {
		if CheckID(id) {
			replies[i] = pipe.HGetAll(ctx, s.cfg.state(id))
		}
	}
	if pipe.Len() == 0 {
		return jobs, nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, check.KeyError("read jobs of", s.cfg.Name, err)
	}
	for i, reply := range replies {
		if reply != nil {
			jobs[i], _ = Of(reply.Val())
		}
	}
	return jobs, nil
}

// Recent returns the newest jobs, the newest first, at most n.
func (s *Store) Recent(ctx context.Context, n int) ([]Job, error) {
	ids, err := s.rdb.ZRevRange(ctx, s.cfg.recent(), 0, int64(n)-1).Result()
	if err != nil {
		return nil, check.KeyError("list jobs of", s.cfg.Name, err)
	}
	if n < 1 || len(ids) == 0 {
		return nil, nil
	}
	all, err := s.GetAll(ctx, ids...)
	if err != nil {
		return nil, err
	}
	var jobs []Job
	for _, j := range all {
		if j.ID != "" {
			jobs = append(jobs, j)
		}
	}
	return jobs, nil
}
