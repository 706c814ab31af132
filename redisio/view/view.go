package view

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// Config configures a View. Space, Name and Log are required; the zero value of any other field is
// its default.
type Config struct {
	// Space is the name of the store. The view is computed from its logs.
	Space string
	// Name is the name of the view.
	Name string
	// Log returns the key of the log of a partition.
	Log func(partition int) string
	// Partitions is the number of logs. Defaults to 1.
	Partitions int
	// Lease is how long a claim lasts that is not renewed. Defaults to 10s.
	Lease time.Duration
	// Grace is how long an old build is kept after Switch. Readers must finish a read within it.
	// Defaults to 1m.
	Grace time.Duration
	// Patience is how long a call retries while the server cannot answer. Defaults to 10s. Negative
	// means that it does not retry.
	Patience time.Duration
}

// Validate reports all mistakes at once, each as a *ConfigError. It needs no server.
func (c Config) Validate() error {
	m := redisio.MistakesOf("view.Config")
	for _, f := range [...]struct{ field, value string }{{"Space", c.Space}, {"Name", c.Name}} {
		m.Empty(f.field, f.value, "name it, as in balances")
		m.If(strings.ContainsAny(f.value, "{}:"), f.field, fmt.Sprintf("is %q, with a brace or a colon", f.value),
			"leave it out")
	}
	m.If(c.Log == nil, "Log", "is nil", "pass the method Log of the store")
	m.Is(c.Partitions < 0 || c.Partitions > 1024, "Partitions", c.Partitions, "choose 1 to 1024")
	m.Is(c.Lease < 0 || c.Lease > 0 && c.Lease < 10*time.Millisecond, "Lease", c.Lease, "choose 10ms or more")
	m.Negative("Grace", int64(c.Grace), "leave it 0 for 1m")
	return m.Err()
}

// View is a view of the logs of a store. It is safe for concurrent use and has nothing to close.
type View struct {
	rdb redis.UniversalClient // the caller's: never closed
	cfg Config
}

// New checks the configuration. It does no I/O.
func New(rdb redis.UniversalClient, cfg Config) (*View, error) {
	if err := errors.Join(check.NeedClient(rdb, "view.New"), cfg.Validate()); err != nil {
		return nil, err
	}
	cfg.Partitions = cmp.Or(cfg.Partitions, 1)
	cfg.Lease = cmp.Or(cfg.Lease, 10*time.Second)
	cfg.Grace = cmp.Or(cfg.Grace, time.Minute)
	cfg.Patience = cmp.Or(cfg.Patience, 10*time.Second)
	return &View{rdb: rdb, cfg: cfg}, nil
}

// Config returns the configuration with its defaults.
func (v *View) Config() Config { return v.cfg }

// Access returns the rights that a View needs.
func (c Config) Access() redisio.Access {
	keys := redisio.KeyPattern("{"+c.Space+":") + "*"
	return redisio.Access{
		Commands: []string{"del", "eval", "exists", "hdel", "hget", "hgetall", "hincrby", "hmget", "hset", "ltrim",
			"pexpire", "ping", "rpush", "sadd", "srandmember", "srem", "time", "type", "unlink", "xlen", "xrange",
			"xrevrange", "zadd", "zrem"},
		Writes: []string{keys},
	}.And()
}

// Build names one computation of a view: the version of the code, a dot and a number. "" means no
// build.
type Build string

// Version returns the version of the code that computes the build.
func (b Build) Version() int {
	text, _, _ := strings.Cut(string(b), ".")
	n, _ := strconv.Atoi(text) // 0 for no build
	return n
}

// Keys finds the data of one build.
type Keys struct {
	Build Build
	view  *View
}

// Of returns the keys of a build.
func (v *View) Of(b Build) Keys { return Keys{Build: b, view: v} }

// Key returns the Redis key of some data of a partition, by the name that a Tx gave it. Read it with
// any command.
func (k Keys) Key(partition int, name string) string {
	return k.view.state(k.Build, partition) + ":k:" + name
}

func (v *View) prefix(partition int) string {
	return "{" + v.cfg.Space + ":" + strconv.Itoa(partition) + "}v:" + v.cfg.Name
}

func (v *View) builds() string { return v.prefix(0) }

func (v *View) state(b Build, partition int) string { return v.prefix(partition) + ":" + string(b) }

func (v *View) keys(b Build, partition int) string { return v.state(b, partition) + ":keys" }

// try runs a command until the server has answered.
func (v *View) try(ctx context.Context, op, key string, f func() error) error {
	return check.KeyError(op, key, fault.WaitFor(ctx, max(v.cfg.Patience, 0), f))
}
