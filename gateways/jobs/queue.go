package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/jobstate"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

// Config configures a Queue. The zero value is the default. All processes of a queue should have the
// same.
type Config struct {
	// Priorities are the priorities from the highest to the lowest. Defaults to high, normal and low
	// with the weights 16, 4 and 1.
	Priorities []Weighted
	// Default is the priority of jobs submitted without one. Defaults to normal if there is a
	// priority of that name, else to the lowest.
	Default string
	// Keep is how long a job is kept after its end, with its result. Defaults to 24h. KeepOpen is how
	// long one that has not ended is kept without any change. Defaults to 720h.
	Keep, KeepOpen time.Duration
	// MaxAttempts is how often a job is tried before it has failed. Defaults to 16. Negative means no
	// limit.
	MaxAttempts int
	// MaxQueued limits the jobs of each priority that have not ended. Submit then returns ErrFull.
	// Defaults to 1,000,000. Negative means no limit.
	MaxQueued int64
	// MaxPayload and MaxResult limit the encoded bytes of the value and of the result. Default to
	// 1 MiB each.
	MaxPayload, MaxResult int
	// Running is how many jobs one worker has at a time. Defaults to 16.
	Running int
	// Report is how often the progress of a running job is stored, if it has changed. Defaults to
	// 250ms.
	Report time.Duration
	// Lease is how long the jobs of a dead worker wait for another. Defaults to 30s.
	Lease time.Duration
	// Recent is how many of the newest jobs Recent can list. Defaults to 1000.
	Recent int
	// Log receives faults. Defaults to the warnings and errors of slog.Default.
	Log *slog.Logger
}

// Weighted is a priority: its name, and how many of its jobs a round takes.
type Weighted struct {
	Name   string
	Weight int
}

func (c Config) withDefaults() Config {
	c.Priorities = slices.Clone(c.Priorities)
	if len(c.Priorities) == 0 {
		c.Priorities = []Weighted{{"high", 16}, {"normal", 4}, {"low", 1}}
	}
	if c.Default == "" {
		c.Default = c.Priorities[len(c.Priorities)-1].Name
		if c.has("normal") {
			c.Default = "normal"
		}
	}
	c.MaxPayload = cmp.Or(c.MaxPayload, 1<<20)
	c.MaxResult = cmp.Or(c.MaxResult, 1<<20)
	c.Running = cmp.Or(c.Running, 16)
	c.Report = cmp.Or(c.Report, 250*time.Millisecond)
	c.Log = flow.Thinned(c.Log)
	return c
}

func (c *Config) has(priority string) bool {
	return slices.ContainsFunc(c.Priorities, func(p Weighted) bool { return p.Name == priority })
}

func (c *Config) names() (names []string) {
	for _, p := range c.Priorities {
		names = append(names, p.Name)
	}
	return names
}

// validate checks a configuration with its defaults.
func (c *Config) validate(rdb redis.UniversalClient) error {
	m := redisio.MistakesOf("jobs.Config")
	m.Client(rdb)
	seen := make(map[string]bool)
	for _, p := range c.Priorities {
		m.If(p.Name == "" || len(p.Name) > 50 || strings.ContainsAny(p.Name, "{}: "), "Priorities",
			fmt.Sprintf("has the name %.60q", p.Name), "choose a word such as high")
		m.If(seen[p.Name], "Priorities", fmt.Sprintf("has %q twice", p.Name), "remove one")
		m.Is(p.Weight < 1 || p.Weight > 1000, "Priorities", fmt.Sprintf("a weight of %d", p.Weight), "choose 1 to 1000")
		seen[p.Name] = true
	}
	m.Is(!c.has(c.Default), "Default", c.Default, "choose one of Priorities")
	for name, n := range map[string]int{"MaxPayload": c.MaxPayload, "MaxResult": c.MaxResult} {
		m.Is(n < 1 || n > 256<<20, name, n, "choose up to 256 MiB")
	}
	m.Is(c.Running < 1 || c.Running > 10_000, "Running", c.Running, "choose 1 to 10,000 jobs")
	m.Is(c.Report < time.Millisecond || c.Report > time.Minute, "Report", c.Report, "choose 1ms to 1m")
	m.Negative("Lease", int64(c.Lease), "leave it 0 for 30s")
	return m.Err()
}

func (c *Config) store(name string) jobstate.Config {
	return jobstate.Config{Name: strings.TrimSuffix(strings.TrimPrefix(name, "{"), "}"), Keep: c.Keep,
		KeepOpen: c.KeepOpen, MaxAttempts: c.MaxAttempts, MaxQueued: c.MaxQueued, Recent: c.Recent}
}

// Access returns the rights to submit, follow, cancel and work on the jobs of the queue.
func (c Config) Access(name string) redisio.Access {
	c = c.withDefaults()
	store := c.store(name)
	a := store.Access(c.names()...)
	for _, src := range c.streams(store) {
		a = a.And(reader.GroupConfig{Key: src.Key, Group: group, Tuning: src.Tuning}.Access(src.DeadKey))
	}
	return a
}

// Queue is a queue of jobs with values of type T and results of type R, which are stored as JSON. It
// is safe for concurrent use.
type Queue[T, R any] struct {
	*queue
	codec  redisio.Codec[T]
	ends   *flow.Watcher
	result redisio.Codec[R]
}

// queue is the part of a Queue without types.
type queue struct {
	name  string
	cfg   Config
	rdb   redis.UniversalClient // the caller's: never closed
	err   error                 // of the configuration
	store *jobstate.Store
	pool  *relay.Pool[Job]
	slots chan struct{} // one for each job that runs here

	mu      sync.Mutex
	running map[*attempt]struct{}
	tasks   *flow.Running        // reports, and cancels; nil before the first job
	heard   *relay.Listener[Job] // of the running jobs; nil before the first one, and after it failed
	closed  bool

	heardNew chan struct{} // holds a token after heard was set
}

// New returns a queue. It does no I/O. Mistakes in its arguments are reported by Validate, by each
// call, and by graphs with its Source.
func New[T, R any](rdb redis.UniversalClient, name string, cfg Config) *Queue[T, R] {
	cfg = cfg.withDefaults()
	core := &queue{name: name, cfg: cfg, rdb: rdb, err: cfg.validate(rdb), running: make(map[*attempt]struct{}),
		heardNew: make(chan struct{}, 1)}
	if core.err == nil {
		core.store, core.err = jobstate.New(rdb, cfg.store(name))
	}
	if core.err == nil {
		core.slots = make(chan struct{}, cfg.Running)
		core.pool = relay.NewPool(
			rdb,
			relay.PoolConfig[Job]{Config: relay.Config[Job]{Decode: decodeNotice, Log: cfg.Log}},
		)
	}
	q := &Queue[T, R]{queue: core, codec: redisio.DefaultCodec[T](), result: redisio.JSON[R]()}
	q.ends = flow.NewWatcher(q.ended)
	return q
}

// decodeNotice reads a notice; its topic is the ID of the job.
func decodeNotice(e *redisio.Entry) (Job, []string, error) {
	j, ok := jobstate.OfNotice(e)
	if !ok {
		return j, nil, errors.New("jobs: a notice without an ID")
	}
	return j, []string{j.ID}, nil
}

// Validate reports all mistakes in the arguments of New. It needs no server.
func (q *queue) Validate() error { return q.err }

// Name returns the name of the queue.
func (q *queue) Name() string { return q.name }

// Priorities returns the names of the priorities, the highest first.
func (q *queue) Priorities() []string { return q.cfg.names() }

// Close ends all calls that follow jobs, and the reports of running ones: end the graphs of workers
// before. The Redis client stays open.
func (q *queue) Close(ctx context.Context) error {
	q.mu.Lock()
	tasks, heard := q.tasks, q.heard
	again := q.closed
	q.closed = true
	q.mu.Unlock()
	if q.err != nil || again {
		return nil
	}
	if heard != nil {
		heard.Close()
	}
	var err error
	if tasks != nil {
		_, err = tasks.Drain(ctx)
	}
	return errors.Join(err, q.pool.Close(ctx))
}
