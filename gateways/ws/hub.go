package ws

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio"
)

// Hub owns the sockets of a process. It is an http.Handler that upgrades requests, and a graph that
// must run meanwhile. Hubs of the same name, in many processes, act as one: a client may reconnect
// to any of them.
//
// Clients send to the workers through Inbound, and workers send to clients through Outbound. A hub
// runs without workers, and workers run without a hub.
type Hub struct {
	cfg    HubConfig
	rdb    redis.UniversalClient
	name   string
	keys   keys
	err    error // of the configuration
	relay  *relay.Relay[delivery]
	clock  *clock
	limits limits

	budgets budgets
	stats   counters

	mu sync.Mutex
	members
}

// members are the sockets of a hub in this process. Guarded by Hub.mu.
type members struct {
	running  *hubRun // nil while the hub does not run
	taken    int     // sockets, and requests being upgraded
	sockets  map[*socket]struct{}
	rooms    map[string]int // sockets in each room
	refusals int            // sockets that only report a refusal
}

// NewHub returns a hub. It does no I/O. Validate and Run report mistakes in its arguments.
func NewHub(rdb redis.UniversalClient, name string, cfg HubConfig) *Hub {
	h := &Hub{
		rdb:     rdb,
		name:    name,
		keys:    keysOf(name),
		members: members{sockets: make(map[*socket]struct{}), rooms: make(map[string]int)},
		clock:   newClock(),
	}
	m := redisio.MistakesOf("NewHub")
	m.Client(rdb)
	h.err = errors.Join(m.Err(), checkHub("NewHub", name), cfg.Validate())
	h.cfg = cfg.withDefaults()
	h.cfg.CallTypes, h.cfg.Secrets = slices.Clone(cfg.CallTypes), slices.Clone(cfg.Secrets)
	h.limits = limits{Message: h.cfg.MaxMessage, Rooms: h.cfg.MaxRooms, Calls: h.cfg.MaxCalls, Name: maxName, ID: maxID}
	h.budgets = budgets{rate: rate.Limit(h.cfg.UserBytes), burst: h.cfg.UserBurst, users: make(map[string]*budget)}
	h.relay = relay.New(
		rdb,
		relay.Config[delivery]{
			Key:    h.keys.out,
			Decode: deliver,
			Queue:  h.cfg.Queue,
			Recent: h.cfg.Recent,
			Log:    cfg.Log,
		},
	)
	return h
}

// Name returns the hub's name.
func (h *Hub) Name() string { return h.name }

// Validate reports all mistakes in the arguments of NewHub, without contacting Redis.
func (h *Hub) Validate() error { return h.err }

// Run runs the hub until ctx is done. Then it asks the sockets to reconnect, finishes requests in
// flight, and closes the sockets. See flow's Graph.Run.
func (h *Hub) Run(ctx context.Context) error { return h.Graph().Run(ctx) }

// RunUntilInterrupt runs the hub until Ctrl-C: see flow's Graph.RunUntilInterrupt.
func (h *Hub) RunUntilInterrupt(ctx context.Context) error { return h.Graph().RunUntilInterrupt(ctx) }

// Graph returns the graph of the hub, which reads the log for all sockets of the process and checks
// them. Only one may run at a time. Its drain waits for the sockets, so CloseTimeout should be less
// than its DrainTimeout.
func (h *Hub) Graph(opts ...flow.GraphOption) *flow.Graph {
	parts := []flow.Part{h.relay.Branch(), flow.Task("sockets", h.run, flow.InvalidError(h.err)), flow.Log(h.cfg.Log)}
	if len(h.cfg.Secrets) == 0 {
		parts = append(parts, flow.Task("secret", flow.Every(checkEvery, h.shareSecret)))
	}
	for _, o := range opts {
		parts = append(parts, o)
	}
	return flow.New("hub of "+h.name, parts...)
}

// ErrNotReady is returned by Ready while the hub accepts no sockets.
var ErrNotReady = errors.New("ws: hub is not running")

// Ready returns nil while the hub accepts sockets, else ErrNotReady. Use it in health checks.
func (h *Hub) Ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running == nil || !h.running.accepts {
		return ErrNotReady
	}
	return nil
}

// admit registers a socket.
func (h *Hub) admit(s *socket) {
	h.mu.Lock()
	h.sockets[s] = struct{}{}
	closing := !s.run.accepts
	h.mu.Unlock()
	h.stats.opened.Add(1)
	if closing { // the hub stopped during the upgrade
		s.leave()
	}
}

// dismiss removes a socket that has ended.
func (h *Hub) dismiss(s *socket) {
	h.mu.Lock()
	delete(h.sockets, s)
	h.mu.Unlock()
	s.release()
}

// count adds by to the number of sockets in a room.
func (h *Hub) count(name string, by int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rooms[name] += by; h.rooms[name] <= 0 {
		delete(h.rooms, name)
	}
}
