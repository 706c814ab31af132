package scatter

import (
	"cmp"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/gather"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

// Config configures both ends of a scatter: P is the type of a part, and R that of its result. Name
// is required; the zero value of any other field is its default. Use the same value at both ends.
type Config[P, R any] struct {
	// Name is the beginning of the keys, such as "{tiles}:parts".
	Name string

	// Quorum is how many parts must succeed. Further results are dropped. Defaults to 0, all.
	Quorum int
	// Within is how long an origin waits for its parts, from its first delivery. Defaults to 5m.
	Within time.Duration
	// Partial passes an origin on if too few parts have succeeded, with those that have; see
	// Gathered.Err. Out then waits until all parts have a result, or Within is over. Defaults to
	// false: the origin is rejected as soon as the quorum cannot be reached.
	Partial bool

	// Open is how many origins one process waits for at once. Defaults to 256.
	Open int
	// MaxParts is the largest number of parts of an origin. Defaults to 1000, at most
	// gather.MaxParts.
	MaxParts int
	// MaxPart and MaxResult are the largest sizes in bytes of one encoded part and result. Each
	// defaults to 1 MiB.
	MaxPart, MaxResult int
	// MaxResults is the largest size in bytes of all results of an origin. A result that does not
	// fit fails its part. Defaults to 16 MiB, at most 256 MiB.
	MaxResults int
	// MaxQueued is how many parts of all origins may wait for workers. Defaults to 100,000.
	MaxQueued int
	// Keep is how long results are kept after they were gathered, for another process that repeats
	// the origin. Defaults to 2m.
	Keep time.Duration

	// Attempts is how often a part is delivered until it fails. Defaults to 5.
	Attempts int

	// PartCodec and ResultCodec encode parts and results. Each defaults to redisio.DefaultCodec:
	// strings and []byte unchanged, everything else as JSON.
	PartCodec   redisio.Codec[P]
	ResultCodec redisio.Codec[R]

	// Tuning is for the workers' reader. DeleteSettled is always set.
	Tuning reader.Tuning
}

func (c Config[P, R]) withDefaults() Config[P, R] {
	c.Within = cmp.Or(c.Within, 5*time.Minute)
	c.Open = cmp.Or(c.Open, 256)
	c.MaxParts = cmp.Or(c.MaxParts, 1000)
	c.MaxPart = cmp.Or(c.MaxPart, 1<<20)
	c.MaxResult = cmp.Or(c.MaxResult, 1<<20)
	c.MaxResults = cmp.Or(c.MaxResults, 16<<20)
	c.Attempts = cmp.Or(c.Attempts, 5)
	if c.PartCodec == nil {
		c.PartCodec = redisio.DefaultCodec[P]()
	}
	if c.ResultCodec == nil {
		c.ResultCodec = redisio.DefaultCodec[R]()
	}
	c.Tuning.DeleteSettled = true
	return c
}

// Validate reports all mistakes at once, each as a *redisio.ConfigError. Out and Work report them
// to the Validate of their graph.
func (c Config[P, R]) Validate() error {
	m := redisio.MistakesOf("scatter.Config")
	m.Join(c.store().Validate())
	m.Negative("Quorum", int64(c.Quorum), "leave it 0 for all parts")
	m.Is(c.Within < 0 || c.Within > 0 && c.Within < time.Millisecond || c.Within > mostWithin, "Within", c.Within,
		"choose 1ms to 10 years, or leave it 0 for 5m")
	m.Negative("Open", int64(c.Open), "leave it 0 for 256 origins")
	m.Is(c.MaxParts < 0 || c.MaxParts > gather.MaxParts, "MaxParts", c.MaxParts,
		"choose up to 100000 parts, or leave it 0 for 1000")
	m.Is(c.MaxPart < 0 || c.MaxPart > mostBytes, "MaxPart", c.MaxPart, "choose up to 64 MiB, or leave it 0 for 1 MiB")
	m.Is(c.MaxResult < 0 || c.MaxResult > mostBytes, "MaxResult", c.MaxResult,
		"choose up to 64 MiB, or leave it 0 for 1 MiB")
	m.Is(c.MaxResults < 0 || c.MaxResults > 4*mostBytes, "MaxResults", c.MaxResults,
		"choose up to 256 MiB, or leave it 0 for 16 MiB")
	m.Negative("Attempts", int64(c.Attempts), "leave it 0 for 5 deliveries")
	return m.Err()
}

const (
	mostWithin = 10 * 365 * 24 * time.Hour
	mostBytes  = 64 << 20
)

func (c Config[P, R]) store() gather.Config {
	return gather.Config{Name: c.Name, MaxQueued: c.MaxQueued, Keep: c.Keep}
}

// open validates the configuration and returns it with its defaults, and its store.
func (c Config[P, R]) open(rdb redis.UniversalClient) (Config[P, R], *gather.Store, error) {
	m := redisio.MistakesOf("scatter")
	m.Client(rdb)
	m.Join(c.Validate())
	if err := m.Err(); err != nil {
		return c.withDefaults(), nil, err
	}
	store, err := gather.New(rdb, c.store())
	return c.withDefaults(), store, err
}

// group is the name of the consumer group of the workers.
const group = "workers"

// AccessOut returns the rights of a process that scatters and gathers.
func (c Config[P, R]) AccessOut() redisio.Access { return c.store().Access() }

// AccessWork returns the rights of a worker.
func (c Config[P, R]) AccessWork() redisio.Access {
	parts := c.store().Parts()
	read := reader.GroupConfig{Key: parts, Group: group, Tuning: c.withDefaults().Tuning}
	return c.store().Access().And(read.Access(redisio.Beside(parts, ":dead")))
}
