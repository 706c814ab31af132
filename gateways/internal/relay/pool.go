package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// PoolConfig configures a Pool. Decode is required; all other fields have defaults.
type PoolConfig[T any] struct {
	// Config configures each relay. Its Key must be empty. All relays share its Reads, which
	// defaults to 8.
	Config[T]
	// MaxStreams is how many streams may be read at one time. Each takes a connection to Redis.
	// Defaults to 64.
	MaxStreams int
	// Linger is how long a stream is still read after its last listener has left. Defaults to 10 s.
	Linger time.Duration
}

// ErrTooManyStreams is returned by Listen while MaxStreams other streams have listeners.
var ErrTooManyStreams = errors.New("relay: too many streams")

const (
	defaultStreams = 64
	defaultLinger  = 10 * time.Second
	poolReads      = 8
)

// Pool has a relay for each stream that has listeners. All methods are safe for concurrent use.
type Pool[T any] struct {
	cfg PoolConfig[T]
	rdb redis.UniversalClient
	err error // of the configuration

	mu      sync.Mutex
	members map[string]*member[T]
	leaving map[*member[T]]struct{} // removed from members, but still connected
	sweeper *flow.Running
	closed  bool
}

// member is a stream that is read.
type member[T any] struct {
	relay *Relay[T]
	run   *flow.Running
	users int
	idle  time.Time // since when there are no users
}

// NewPool returns a pool. It does no I/O. Validate and Listen report mistakes in its arguments.
func NewPool[T any](rdb redis.UniversalClient, cfg PoolConfig[T]) *Pool[T] {
	p := &Pool[T]{rdb: rdb, members: make(map[string]*member[T]), leaving: make(map[*member[T]]struct{})}
	probe := cfg.Config
	probe.Key = "any"
	m := redisio.MistakesOf("relay.PoolConfig")
	m.Join(New(rdb, probe).Validate())
	m.Is(cfg.MaxStreams < 0, "MaxStreams", cfg.MaxStreams, "leave it 0 for 64 streams")
	m.Is(cfg.Linger < 0, "Linger", cfg.Linger, "leave it 0 for 10 seconds")
	p.err = m.Err()
	cfg.MaxStreams = cmp.Or(cfg.MaxStreams, defaultStreams)
	if cfg.Linger == 0 {
		cfg.Linger = defaultLinger
	}
	if cfg.Reads == nil {
		cfg.Reads = NewReads(poolReads)
	}
	p.cfg = cfg
	return p
}

// Validate reports all mistakes in the arguments of NewPool.
func (p *Pool[T]) Validate() error { return p.err }

// Listen returns a new listener of a stream, see Relay.Listen. It also returns ErrTooManyStreams.
func (p *Pool[T]) Listen(ctx context.Context, key string, o Options) (*Listener[T], error) {
	if p.err != nil {
		return nil, p.err
	}
	m, err := p.join(ctx, key)
	if err != nil {
		return nil, err
	}
	l, err := m.relay.Listen(ctx, o)
	if err != nil {
		p.leave(m)
		return nil, err
	}
	l.closed = func() { p.leave(m) }
	return l, nil
}

// join returns the member of a key and increments the number of its users.
func (p *Pool[T]) join(ctx context.Context, key string) (*member[T], error) {
	for {
		m, gone, err := p.member(ctx, key)
		if gone == nil || err != nil {
			return m, err
		}
		p.end(ctx, gone)
	}
}

// member returns the member of a key, or one that leaves to make room and must be ended first.
func (p *Pool[T]) member(ctx context.Context, key string) (m, gone *member[T], err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, ErrClosed
	}
	if m = p.members[key]; m != nil {
		select {
		case <-m.run.Done(): // it has failed: try again with a new one
			delete(p.members, key)
		default:
			m.users++
			return m, nil, nil
		}
	}
	if len(p.members)+len(p.leaving) >= p.cfg.MaxStreams {
		if gone = p.longestIdle(); gone != nil {
			return nil, gone, nil
		}
		for gone = range p.leaving {
			return nil, gone, nil
		}
		return nil, nil, fmt.Errorf("%w: %d", ErrTooManyStreams, p.cfg.MaxStreams)
	}
	if p.sweeper == nil {
		if p.sweeper, err = p.graph().Start(context.WithoutCancel(ctx)); err != nil {
			return nil, nil, err
		}
	}
	cfg := p.cfg.Config
	cfg.Key = key
	m = &member[T]{relay: New(p.rdb, cfg), users: 1}
	// The graph belongs to the pool, not to its first listener, so its context must not end with
	// that of the listener.
	if m.run, err = m.relay.Graph().Start(context.WithoutCancel(ctx)); err != nil {
		return nil, nil, err
	}
	p.members[key] = m
	return m, nil, nil
}

// longestIdle removes and returns the member that has had no users for the longest time; nil if all
// have users. The caller holds the lock.
func (p *Pool[T]) longestIdle() (m *member[T]) {
	for _, other := range p.members {
		if other.users == 0 && (m == nil || other.idle.Before(m.idle)) {
			m = other
		}
	}
	if m != nil {
		p.putOut(m)
	}
	return m
}

func (p *Pool[T]) putOut(m *member[T]) {
	delete(p.members, m.relay.cfg.Key)
	p.leaving[m] = struct{}{}
}

// end disconnects a removed member. It takes up to Config.Block, because a blocked read cannot be
// interrupted. Several callers may end the same member.
func (p *Pool[T]) end(ctx context.Context, m *member[T]) {
	m.relay.Close()
	_, _ = m.run.Drain(context.WithoutCancel(ctx)) // its sink holds nothing, and the graph has logged its error
	p.mu.Lock()
	delete(p.leaving, m)
	p.mu.Unlock()
}

// leave releases a member after join.
func (p *Pool[T]) leave(m *member[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.users--; m.users == 0 {
		m.idle = time.Now()
	}
}

// graph returns the graph that disconnects streams without listeners.
func (p *Pool[T]) graph() *flow.Graph {
	sweep := flow.Every(max(p.cfg.Linger/2, 10*time.Millisecond), p.sweep)
	return flow.New("relays", flow.Task("sweep", sweep), flow.Log(p.cfg.Log))
}

func (p *Pool[T]) sweep(ctx context.Context, now time.Time) error {
	var old []*member[T]
	p.mu.Lock()
	for _, m := range p.members {
		if m.users == 0 && now.Sub(m.idle) >= p.cfg.Linger {
			old = append(old, m)
			p.putOut(m)
		}
	}
	p.mu.Unlock()
	for _, m := range old {
		p.end(ctx, m)
	}
	return nil
}

// Streams returns how many streams are read.
func (p *Pool[T]) Streams() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.members) + len(p.leaving)
}

// Close ends all listeners and disconnects all streams.
func (p *Pool[T]) Close(ctx context.Context) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	sweeper := p.sweeper
	for _, m := range p.members {
		p.putOut(m)
	}
	leaving := slices.Collect(maps.Keys(p.leaving))
	p.mu.Unlock()
	var err error
	if sweeper != nil {
		_, err = sweeper.Drain(ctx)
	}
	var all sync.WaitGroup
	for _, m := range leaving {
		all.Go(func() { p.end(ctx, m) })
	}
	all.Wait()
	return err
}
