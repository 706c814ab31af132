package projection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/eventstore"
	"github.com/streamerson/streamerson-go/redisio/view"
)

// Config configures a Projection. Name and Apply are required; the zero value of any other field is
// its default.
type Config[E any] struct {
	// Name is the name of the view, unique in the store.
	Name string
	// Version is the version of Apply. Increase it when Apply changes, then the view is rebuilt.
	// Defaults to 1.
	Version int
	// Apply turns an event into changes of the view. It must depend on the event and on what it reads
	// from tx only, so that a rebuild computes the same. The names that it gives to data belong to the
	// partition of the event.
	Apply func(ctx context.Context, tx *view.Tx, e eventstore.Event[E]) error

	// ManualSwitch leaves a build that has caught up as it is, until Switch is called. By default it
	// becomes live by itself.
	ManualSwitch bool
	// SkipUndecodable leaves out events that cannot be decoded, and those that were deleted from the
	// log. By default the partition waits at such an event, and a build does not begin on such a log.
	SkipUndecodable bool
	// Lease is how long a partition waits for a process that has died. Defaults to 10s.
	Lease time.Duration
	// Grace is how long a build that was replaced is kept. Defaults to 1m.
	Grace time.Duration
	// Poll is the interval at which the processes look for new builds. Defaults to 500ms.
	Poll time.Duration
}

// Validate reports all mistakes at once, each as a *ConfigError. It needs no server.
func (c Config[E]) Validate() error {
	m := redisio.MistakesOf("projection.Config")
	m.If(c.Apply == nil, "Apply", "is nil", "give a function that turns an event into changes")
	m.Is(c.Version < 0, "Version", c.Version, "choose 1 or more")
	m.Is(c.Poll < 0 || c.Poll > 0 && c.Poll < time.Millisecond, "Poll", c.Poll, "choose 1ms or more")
	return m.Err()
}

// Projection computes a view. It is safe for concurrent use.
type Projection[E any] struct {
	rdb   redis.UniversalClient // the caller's: never closed
	store *eventstore.Store[E]
	view  *view.View
	cfg   Config[E]
}

// New checks the configuration. It does no I/O.
func New[E any](
	rdb redis.UniversalClient, store *eventstore.Store[E], cfg Config[E],
) (*Projection[E], error) {
	if store == nil {
		return nil, &redisio.ConfigError{Type: "projection.New", Field: "store", Problem: "is nil",
			Fix: "pass a store, see eventstore.New"}
	}
	of := store.Config()
	v, err := view.New(rdb, view.Config{Space: of.Name, Name: cfg.Name, Log: store.Log, Partitions: of.Partitions,
		Lease: cfg.Lease, Grace: cfg.Grace})
	if err := errors.Join(err, cfg.Validate()); err != nil {
		return nil, err
	}
	cfg.Version = cmp.Or(cfg.Version, 1)
	cfg.Poll = cmp.Or(cfg.Poll, 500*time.Millisecond)
	return &Projection[E]{rdb: rdb, store: store, view: v, cfg: cfg}, nil
}

// Graph returns the graph that computes the view. It runs until it is drained.
func (p *Projection[E]) Graph(opts ...flow.GraphOption) *flow.Graph {
	var parts []flow.Part
	for n := range p.store.Config().Partitions {
		for _, next := range []bool{false, true} {
			name := fmt.Sprintf("%s[%d]", p.cfg.Name, n)
			if next {
				name += " next"
			}
			src := flow.NewSource("events of "+name, func() flow.Reader[item[E]] {
				return newFollower(p, n, next)
			}, flow.Traits{Redelivers: true}, flow.ChunkSize(chunk), flow.MaxInFlight(inFlight))
			sink := flow.NewSink(name, func() flow.Writer[item[E]] { return &applier[E]{p: p, partition: n} },
				flow.ChunkSize(chunk))
			parts = append(parts, flow.To(src, sink))
		}
	}
	parts = append(parts, flow.Task(p.cfg.Name+" builds", p.tend))
	for _, o := range opts {
		parts = append(parts, o)
	}
	return flow.New("projection "+p.cfg.Name, parts...)
}

const (
	chunk    = 256  // events of one commit
	inFlight = 2048 // events read and not committed
)

// Run runs the graph until ctx is done.
func (p *Projection[E]) Run(ctx context.Context) error { return p.Graph().Run(ctx) }

// Access returns the rights that a process needs which runs the projection.
func (p *Projection[E]) Access() redisio.Access {
	return p.view.Config().Access().And(redisio.Access{Commands: []string{"xinfo|stream", "xread"}})
}
