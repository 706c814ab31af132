package durable

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/gateways/internal/slot"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/transcript"
)

// Limits bound each reply. A reply without attempts left fails with gateways.CodeInterrupted.
type Limits = transcript.Limits

// Config configures Replies. The zero value is the default.
type Config struct {
	Limits
	// MaxStreams is how many open replies this process reads for followers at one time. Each takes a
	// connection to Redis. Further followers get ErrBusy. Defaults to 256.
	MaxStreams int
	// Log receives faults. Defaults to the warnings and errors of slog.Default, see flow.Logger.
	Log *slog.Logger
}

const (
	defaultStreams = 256
	quietAfter     = 5 * time.Second // then a follower checks that the reply still exists
	renewEvery     = 2 * time.Second // at which writers check whether they were stopped
)

// Replies are the durable replies of a topic. All methods may be called concurrently. Close it
// after use; the Redis client stays open.
type Replies struct {
	cfg   Config
	rdb   redis.UniversalClient
	store *transcript.Store
	err   error // of the configuration
	pool  *relay.Pool[transcript.Entry]

	quiet time.Duration // quietAfter, but for tests

	mu      sync.Mutex
	writers map[string]*attempt // by ID
	watch   *flow.Running       // of the writers; nil before the first
	clients int                 // of handlers
	idle    chan struct{}       // closed when the last client has left; nil before Close
	closed  bool
}

// New returns the durable replies of a topic. It does no I/O. Validate reports mistakes in its
// arguments, and so do all methods.
func New(rdb redis.UniversalClient, topic string, cfg Config) *Replies {
	r := &Replies{rdb: rdb, writers: make(map[string]*attempt), quiet: quietAfter}
	m := redisio.MistakesOf("durable.New")
	m.Client(rdb)
	m.Join(slot.CheckTopic("durable.New", topic))
	m.Negative("MaxStreams", int64(cfg.MaxStreams), "leave it 0 for 256 replies")
	r.err = m.Err()
	cfg.Log = flow.Thinned(cfg.Log)
	cfg.MaxStreams = cmp.Or(max(0, cfg.MaxStreams), defaultStreams)
	r.cfg = cfg
	if r.err != nil {
		return r
	}
	store, err := transcript.New(rdb, cfg.transcripts(topic))
	if err != nil {
		r.err = err
		return r
	}
	r.store = store
	r.pool = relay.NewPool(rdb, relay.PoolConfig[transcript.Entry]{
		Config: relay.Config[transcript.Entry]{Decode: decodeEntry, Log: cfg.Log}, MaxStreams: cfg.MaxStreams,
		Linger: 2 * time.Second,
	})
	r.err = r.pool.Validate()
	return r
}

func (c Config) transcripts(topic string) transcript.Config {
	return transcript.Config{Prefix: slot.Tag(topic) + ":durable", Limits: c.Limits}
}

// Access returns the rights that writers, followers and starters of durable replies of a topic need
// in addition to those of gateways.
func (c Config) Access(topic string) redisio.Access { return c.transcripts(topic).Access() }

// Validate reports all mistakes in the arguments of New. It needs no server.
func (r *Replies) Validate() error { return r.err }

// decodeEntry reads an entry for all its followers.
func decodeEntry(e *redisio.Entry) (transcript.Entry, []string, error) {
	typ, _ := e.Fields.Get("type")
	data, _ := e.Fields.Get("data")
	entry, err := transcript.Decode(e.Position, typ, append([]byte(nil), data...))
	return entry, nil, err
}

// State is the state of a reply.
type State = transcript.State

const (
	Open    = transcript.Open    // more values may follow
	Done    = transcript.Done    // complete
	Failed  = transcript.Failed  // its handler returned an error
	Stopped = transcript.Stopped // by Stop
)

// Info describes a reply.
type Info struct {
	ID      string
	State   State
	Values  int64 // since the last reset
	Attempt int   // 0 before a handler has begun
	Created time.Time
}

var (
	// ErrUnknown: there is no such reply, or it has expired.
	ErrUnknown = transcript.ErrUnknown
	// ErrStopped: the reply was stopped. It is also the cause of the handler's context.
	ErrStopped = errors.New("durable: stopped")
	// ErrFenced: a later attempt writes the reply. It is also the cause of the handler's context.
	ErrFenced = transcript.ErrFenced
	// ErrDraining is the cause of the context of a handler that has called Resume, when its service
	// drains.
	ErrDraining = errors.New("durable: service drains, another process continues the reply")
	// ErrEnded: the reply has ended, so it cannot be stopped or written.
	ErrEnded = errors.New("durable: reply has ended")
	// ErrBusy: this process reads MaxStreams other replies. Try again later, or in another process.
	ErrBusy = errors.New("durable: too many replies are followed in this process")
	// ErrClosed: the Replies are closed.
	ErrClosed = errors.New("durable: closed")
)

// TooLargeError reports a value that is larger than Config.MaxPart. It was not sent.
type TooLargeError = transcript.TooLargeError

// Info returns the state of a reply, or ErrUnknown.
func (r *Replies) Info(ctx context.Context, id string) (Info, error) {
	if r.err != nil {
		return Info{}, r.err
	}
	info, err := r.store.Info(ctx, id)
	if err != nil {
		return Info{}, err
	}
	return infoOf(id, info), nil
}

// Recent describes the newest replies of the topic, at most n, the newest first. It knows the last
// 1,000 of a day that have not expired.
func (r *Replies) Recent(ctx context.Context, n int) ([]Info, error) {
	if r.err != nil {
		return nil, r.err
	}
	found, err := r.store.Recent(ctx, n)
	list := make([]Info, len(found))
	for i := range found {
		list[i] = infoOf(found[i].ID, found[i])
	}
	return list, err
}

func infoOf(id string, i transcript.Info) Info {
	return Info{id, i.State, i.Values, i.Attempt, i.Created}
}

// Stop ends an open reply, for all followers and in all processes. Its handler's context is
// cancelled with the cause ErrStopped. A reply that has not begun never begins. Stop returns
// ErrUnknown, or ErrEnded if the reply was done or had failed before. Stopping it again is no error.
func (r *Replies) Stop(ctx context.Context, id string) error {
	if r.err != nil {
		return r.err
	}
	was, err := r.store.Finish(ctx, id, transcript.End{State: Stopped})
	switch {
	case err != nil:
		return err
	case was != Open && was != Stopped:
		return ErrEnded
	}
	r.settled(id, ErrStopped) // sooner than by the stream of stops
	return nil
}

// Close ends all followers with ErrClosed and releases all connections, at the latest when ctx is
// done. Handlers that still write continue, but no longer learn of a stop before their next Send.
func (r *Replies) Close(ctx context.Context) error {
	r.mu.Lock()
	if r.closed || r.err != nil {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	watch, idle := r.watch, make(chan struct{})
	if r.clients == 0 {
		close(idle)
	} else {
		r.idle = idle
	}
	r.mu.Unlock()
	err := r.pool.Close(ctx)
	if watch != nil {
		_, failed := watch.Drain(ctx)
		err = errors.Join(err, failed)
	}
	select {
	case <-idle:
		return err
	case <-ctx.Done():
		return errors.Join(err, context.Cause(ctx))
	}
}

// enter adds a client of a handler to the count, and leave removes it.
func (r *Replies) enter() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	r.clients++
	return nil
}

func (r *Replies) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.clients--; r.clients == 0 && r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
}
