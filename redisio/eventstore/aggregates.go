package eventstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

// AggregatesConfig configures Aggregates. Apply is required; the zero value of any other field is
// its default.
type AggregatesConfig[S, E any] struct {
	// Apply returns the state after an event. It must depend on its arguments only.
	Apply func(state S, e Event[E]) S
	// Tries is the maximum number of decisions of an Update, if others append at the same time.
	// Defaults to 10.
	Tries int

	// Snapshot configures snapshots. Defaults to none.
	Snapshot SnapshotConfig[S]
}

// SnapshotConfig configures snapshots of states. Name is required if any of it is set.
type SnapshotConfig[S any] struct {
	// Name distinguishes the snapshots of several types of states. An example is account.
	Name string
	// Version is the version of S and Apply. Increase it when either changes: then older snapshots
	// are ignored, and expire.
	Version int
	// Every is the number of events after which Load and Update save a new snapshot. Defaults to 100.
	Every int
	// Expire is how long a snapshot is kept after it was saved. Defaults to 30 days.
	Expire time.Duration
	// Codec encodes the states. Defaults to redisio.DefaultCodec.
	Codec redisio.Codec[S]
	// MaxBytes is the maximum size of a snapshot. Defaults to 1 MiB.
	MaxBytes int
	// OnError is called with the error of a snapshot that could not be saved or decoded. Load and
	// Update do without it. It must be quick. Defaults to nil.
	OnError func(aggregate string, err error)
}

// Validate reports all mistakes at once, each as a *ConfigError. It needs no server.
func (c AggregatesConfig[S, E]) Validate() error {
	m := redisio.MistakesOf("eventstore.AggregatesConfig")
	m.If(c.Apply == nil, "Apply", "is nil", "give a function that returns the state after an event")
	m.Negative("Tries", int64(c.Tries), "leave it 0 for 10")
	s := c.Snapshot
	used := s.Version != 0 || s.Every != 0 || s.Expire != 0 || s.Codec != nil || s.MaxBytes != 0 || s.OnError != nil
	m.If(s.Name == "" && used, "Snapshot.Name", "is empty", "name the type of state, as in account")
	m.Negative("Snapshot.Every", int64(s.Every), "leave it 0 for 100")
	m.Is(s.Expire < 0 || s.Expire > 0 && s.Expire < time.Second, "Snapshot.Expire", s.Expire,
		"choose 1s or more, or leave it 0 for 30 days")
	m.Is(s.MaxBytes < 0 || s.MaxBytes > maxSize, "Snapshot.MaxBytes", s.MaxBytes,
		"choose up to 64 MiB, or leave it 0 for 1 MiB")
	return m.Err()
}

// Aggregates loads and changes the states of aggregates of one type. It is safe for concurrent use.
type Aggregates[S, E any] struct {
	store *Store[E]
	cfg   AggregatesConfig[S, E]
}

// NewAggregates checks the configuration. It does no I/O.
func NewAggregates[S, E any](store *Store[E], cfg AggregatesConfig[S, E]) (*Aggregates[S, E], error) {
	m := redisio.MistakesOf("eventstore.NewAggregates")
	m.If(store == nil, "store", "is nil", "pass a store, see eventstore.New")
	if err := errors.Join(m.Err(), cfg.Validate()); err != nil {
		return nil, err
	}
	cfg.Tries = cmp.Or(cfg.Tries, 10)
	cfg.Snapshot.Every = cmp.Or(cfg.Snapshot.Every, 100)
	cfg.Snapshot.Expire = cmp.Or(cfg.Snapshot.Expire, 30*24*time.Hour)
	cfg.Snapshot.MaxBytes = cmp.Or(cfg.Snapshot.MaxBytes, 1<<20)
	if cfg.Snapshot.Codec == nil {
		cfg.Snapshot.Codec = redisio.DefaultCodec[S]()
	}
	return &Aggregates[S, E]{store: store, cfg: cfg}, nil
}

// Loaded is the state of an aggregate after its last event.
type Loaded[S any] struct {
	State  S
	Last   redisio.ID // None if it has no events. It is what the next Append expects.
	Events int        // number of its events

	folded int // events that were read, besides the snapshot
}

// Load returns the state of an aggregate: its snapshot, and Apply of each event behind it. An
// aggregate without events has the zero state.
func (a *Aggregates[S, E]) Load(ctx context.Context, aggregate string) (Loaded[S], error) {
	l, err := a.load(ctx, aggregate, a.snapshotKey(aggregate))
	if err == nil && a.cfg.Snapshot.Name != "" && l.folded >= a.cfg.Snapshot.Every {
		if _, err := a.save(ctx, aggregate, l, 0); err != nil {
			a.failed(aggregate, err)
		}
	}
	return l, err
}

func (a *Aggregates[S, E]) load(ctx context.Context, aggregate, snapshot string) (l Loaded[S], err error) {
	for from := 0; ; snapshot = "" {
		p, err := a.store.page(ctx, aggregate, from, snapshot)
		if err != nil {
			return Loaded[S]{}, fmt.Errorf("load %q: %w", aggregate, err)
		}
		if p.snapshot != "" {
			l.State, err = a.cfg.Snapshot.Codec.Decode([]byte(p.snapshot))
			if err != nil { // of another version of S: the events have everything
				a.failed(aggregate, fmt.Errorf("eventstore: decode snapshot of %q: %w", aggregate, err))
				return a.load(ctx, aggregate, "")
			}
			l.Last = p.at
		}
		from = p.from
		for _, e := range p.events {
			l.State, l.Last = a.cfg.Apply(l.State, e), e.ID
		}
		from += len(p.events)
		l.Events, l.folded = from, l.folded+len(p.events)
		if from >= p.total || len(p.events) == 0 {
			return l, nil
		}
	}
}

// Update loads an aggregate, lets decide choose its next events, and appends them. If another caller
// has appended meanwhile, it does so again with the new state, at most Tries times, and then returns
// the *Conflict. An error of decide is returned as it is. Without events nothing is written. It
// returns the state after the events.
func (a *Aggregates[S, E]) Update(
	ctx context.Context, aggregate string, decide func(Loaded[S]) ([]E, error),
) (Loaded[S], error) {
	return a.UpdateOnce(ctx, aggregate, "", decide)
}

// UpdateOnce is Update with the ID of the append, see Batch.ID. If the append was written before, as
// by a request that is repeated, decide is not called, nothing is written, and the current state is
// returned.
func (a *Aggregates[S, E]) UpdateOnce(
	ctx context.Context, aggregate, id string, decide func(Loaded[S]) ([]E, error),
) (now Loaded[S], err error) {
	if id != "" {
		if _, done, err := a.store.Appended(ctx, id, aggregate); err != nil {
			return now, err
		} else if done {
			return a.Load(ctx, aggregate)
		}
	}
	id = cmp.Or(id, newAppendID())
	err = RetryConflicts(ctx, a.cfg.Tries, func() error {
		if now, err = a.Load(ctx, aggregate); err != nil {
			return err
		}
		events, err := decide(now)
		if err != nil || len(events) == 0 {
			return err
		}
		b := Batch[E]{ID: id, Parts: []Part[E]{{Aggregate: aggregate, Expected: now.Last, Events: events}}}
		r, err := a.store.AppendAll(ctx, b)
		if err != nil {
			return err
		}
		if r.Repeated {
			now, err = a.Load(ctx, aggregate)
			return err
		}
		for n, v := range events { // as Load will read them
			fields, err := a.store.fields(&b, aggregate, n, v)
			if err != nil {
				return err
			}
			e, err := a.store.Decode(&redisio.Entry{ID: r.ids[n].String(), Position: r.ids[n], Fields: fields})
			if err != nil {
				return err
			}
			now.State, now.Last = a.cfg.Apply(now.State, e), e.ID
		}
		now.Events += len(events)
		return nil
	})
	return now, err
}
