package gather

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// Config configures a Store. Name is required; the zero value of any other field is its default.
type Config struct {
	// Name is the beginning of the keys. All processes that scatter, work and gather together have
	// the same name.
	Name string
	// TTL is how long a gather is kept after the end of its time, if no process takes it. Defaults
	// to 1h.
	TTL time.Duration
	// Keep is how long a gather is kept after it was taken. If the process that took it is killed,
	// another repeats the work on the origin in this time. Choose it above the lease of the
	// origin's stream. Defaults to 2m.
	Keep time.Duration
	// MaxQueued is how many parts of all gathers may wait in the stream. Send returns ErrFull
	// instead of more, unless none waits. Defaults to 100,000.
	MaxQueued int
	// Patience is how long a call retries while the server cannot answer. Defaults to 30s. Negative
	// means that it does not retry.
	Patience time.Duration
}

// MaxParts is the largest number of parts of a gather.
const MaxParts = 100_000

func (c Config) withDefaults() Config {
	c.TTL = cmp.Or(c.TTL, time.Hour)
	c.Keep = cmp.Or(c.Keep, 2*time.Minute)
	c.MaxQueued = cmp.Or(c.MaxQueued, 100_000)
	c.Patience = cmp.Or(c.Patience, 30*time.Second)
	return c
}

// Validate reports all mistakes at once, each as a *ConfigError. It needs no server.
func (c Config) Validate() error {
	m := redisio.MistakesOf("gather.Config")
	name(m, "Name", c.Name)
	span(m, "TTL", c.TTL, "1h")
	span(m, "Keep", c.Keep, "2m")
	m.Negative("MaxQueued", int64(c.MaxQueued), "leave it 0 for 100000")
	return m.Err()
}

// name adds the mistakes of a name of keys.
func name(m *redisio.Mistakes, field, value string) {
	m.Empty(field, value, "name what is gathered, as in thumbnails")
	m.Is(len(value) > 200, field, fmt.Sprintf("%d bytes long", len(value)), "choose at most 200 bytes")
	m.If(value != "" && redisio.Beside(value, ":parts") == "", field,
		fmt.Sprintf("is %q, and no other key shares its hash slot", fault.KeyName(value)),
		"give it a hash tag, as {thumbnails}")
}

// span adds the mistake of a time to live.
func span(m *redisio.Mistakes, field string, d time.Duration, byDefault string) {
	m.Is(d < 0 || d > 0 && d < time.Millisecond || d > fault.MaxDelay, field, d,
		"choose 1ms to 100 years, or leave it 0 for "+byDefault)
}

// Store keeps gathers. All methods may be called concurrently, by any number of processes. It uses
// the caller's client unchanged, and has nothing to close. While the server cannot answer, a call
// retries for Patience; every call may be repeated.
type Store struct {
	rdb redis.UniversalClient // the caller's: never closed
	cfg Config
}

// New checks the configuration. It does no I/O.
func New(rdb redis.UniversalClient, cfg Config) (*Store, error) {
	if err := errors.Join(check.NeedClient(rdb, "gather.New"), cfg.Validate()); err != nil {
		return nil, err
	}
	return &Store{rdb: rdb, cfg: cfg.withDefaults()}, nil
}

// Parts returns the key of the stream of parts. Each is a native entry with the part in its data,
// and as its message ID what [PartID] returns.
func (c Config) Parts() string { return redisio.Beside(c.Name, ":parts") }

// Notices returns the key of the stream of notices. The field id of an entry is that of a gather
// that has closed. It keeps the newest ten thousand, so a reader that falls behind asks with
// Closed.
func (c Config) Notices() string { return redisio.Beside(c.Name, ":notices") }

// Key returns the key of a gather.
func (c Config) Key(id string) string { return redisio.Beside(c.Name, ":gather:"+id) }

// Config returns the configuration with its defaults.
func (s *Store) Config() Config { return s.cfg }
