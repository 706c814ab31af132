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
	// MaxQueued limits the jobs of a priority that have not ended, apart from cancelled ones that no
	// worker has seen. Defaults to 1,000,000. Negative means no limit.
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

// Dead returns the key of the dead letters of a priority.
func (c Config) Dead(priority string) string { return c.Stream(priority) + ":dead" }

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
		keys = append(append(keys, c.Dead(p)), schedule.ScheduleKeys(c.Stream(p))...)
	}
	a := acl.Of(keys, "del", "eval", "exists", "get", "hdel", "hget", "hgetall", "hincrby", "hmget", "hset", "hsetnx",
		"pexpire", "pttl", "set", "time", "xadd", "xdel", "xlen", "xread", "xinfo|groups", "zadd", "zcard", "zrem",
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

// CheckID reports whether a text can be the ID of a job: 1 to 100 letters, digits, and any of -_.: but
// not dots alone.
func CheckID(id string) bool {
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("-_.:", c) < 0 {
			return false
		}
	}
	return strings.Trim(id, ".") != "" && len(id) <= 100 // no segment of a path such as ".."
}

// Get returns the state of a job. The error is ErrUnknown or ErrExpired if there is no such job.
func (s *Store) Get(ctx context.Context, id string) (Job, error) {
	if !CheckID(id) {
		return Job{}, s.unknown(id, time.Now())
	}
	fields, err := s.rdb.HGetAll(ctx, s.cfg.state(id)).Result()
	if err != nil {
		return Job{}, check.KeyError("read a job of", s.cfg.Name, err)
	}
	j, ok := of(fields)
	if !ok {
		return Job{}, s.unknown(id, time.Now())
	}
	return j, nil
}

// Recent returns the newest jobs without their results, the newest first, at most n.
func (s *Store) Recent(ctx context.Context, n int) ([]Job, error) {
	if n < 1 {
		return nil, nil
	}
	ids, err := s.rdb.ZRevRange(ctx, s.cfg.recent(), 0, int64(n)-1).Result()
	if err != nil || len(ids) == 0 {
		return nil, check.KeyError("list jobs of", s.cfg.Name, err)
	}
	replies := make([]*redis.SliceCmd, len(ids))
	pipe := s.rdb.Pipeline()
	for i, id := range ids {
		replies[i] = pipe.HMGet(ctx, s.cfg.state(id), fieldNames...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, check.KeyError("read jobs of", s.cfg.Name, err)
	}
	var jobs []Job
	for _, reply := range replies {
		fields := make(map[string]string)
		for i, v := range reply.Val() {
			if text, ok := v.(string); ok {
				fields[fieldNames[i]] = text
			}
		}
		if j, ok := of(fields); ok {
			jobs = append(jobs, j)
		}
	}
	return jobs, nil
}

// Depth is how many jobs of a priority have not ended, and how many dead letters there are.
type Depth struct {
	Priority  string
	Waiting   int64 // for a worker
	Taken     int64 // by a worker: they run, are read ahead, or are tried again later
	Scheduled int64 // for later
	Dead      int64 // dead letters
}

// Depths returns how many jobs of each priority there are, with one round trip. group is the consumer
// group of the workers.
func (s *Store) Depths(ctx context.Context, group string, priorities ...string) ([]Depth, error) {
	type asked struct {
		length, later, dead *redis.IntCmd
		groups              *redis.XInfoGroupsCmd
	}
	pipe, asks := s.rdb.Pipeline(), make([]asked, len(priorities))
	for i, p := range priorities {
		keys := schedule.ScheduleKeys(s.cfg.Stream(p))
		asks[i] = asked{pipe.XLen(ctx, keys[0]), pipe.ZCard(ctx, keys[1]), pipe.XLen(ctx, s.cfg.Dead(p)),
			pipe.XInfoGroups(ctx, keys[0])}
	}
	_, _ = pipe.Exec(ctx) // each has its own error
	all := make([]Depth, len(priorities))
	for i, p := range priorities {
		a := &asks[i]
		// A stream that does not exist yet has no groups.
		if err := errors.Join(a.length.Err(), a.later.Err(), a.dead.Err()); err != nil {
			return nil, check.KeyError("count jobs of", s.cfg.Name, err)
		}
		d := &all[i]
		*d = Depth{Priority: p, Waiting: a.length.Val(), Scheduled: a.later.Val(), Dead: a.dead.Val()}
		for _, g := range a.groups.Val() {
			if g.Name != group {
				continue
			}
			d.Taken = g.Pending
			if d.Waiting = g.Lag; g.Lag < 0 { // unknown after a cancel: a settled entry may be counted
				d.Waiting = max(a.length.Val()-g.Pending, 0)
			}
		}
	}
	return all, nil
}
