package ws

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/places"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
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

	mu      sync.Mutex
	life    *life // nil while the hub does not run
	taken   int   // sockets, and requests being upgraded
	sockets map[*socket]struct{}
	rooms   map[string]int // sockets of this process in each room
	users   map[string]*budget
	turned  int // sockets that only report a refusal

	stats counters
}

// life is the state of a running hub.
type life struct {
	ctx    context.Context // parent of the sockets' contexts; done when the hub ends
	cancel context.CancelCauseFunc
	seal   *sealer

	unshared atomic.Bool // the last attempt to share the secret failed

	inbox *source.Inbox[said]
	work  sync.WaitGroup // sockets, and requests being upgraded; added to only while open
	open  bool           // guarded by Hub.mu
}

// NewHub returns a hub. It does no I/O. Validate and Run report mistakes in its arguments.
func NewHub(rdb redis.UniversalClient, name string, cfg HubConfig) *Hub {
	h := &Hub{
		rdb:     rdb,
		name:    name,
		keys:    keysOf(name),
		sockets: make(map[*socket]struct{}),
		rooms:   make(map[string]int),
		users:   make(map[string]*budget),
		clock:   newClock(),
	}
	if redisio.IsNilClient(rdb) {
		h.err = &redisio.ConfigError{
			Type:    "NewHub",
			Field:   "rdb",
			Problem: "the Redis client is nil",
			Fix:     "pass one, see redisio.Connect",
		}
	}
	h.err = errors.Join(h.err, checkHub("NewHub", name), cfg.Validate())
	h.cfg = cfg.withDefaults()
	h.cfg.CallTypes, h.cfg.Secrets = slices.Clone(cfg.CallTypes), slices.Clone(cfg.Secrets)
	h.limits = limits{Message: h.cfg.MaxMessage, Rooms: h.cfg.MaxRooms, Calls: h.cfg.MaxCalls, Name: maxName, ID: maxID}
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

// Validate reports all mistakes in the arguments of NewHub, without contacting Redis.
func (h *Hub) Validate() error { return h.err }

// Run runs the hub until ctx is done. Then it tells the sockets to reconnect, finishes what is in
// flight, and closes them. See flow's Graph.Run.
func (h *Hub) Run(ctx context.Context) error { return h.Graph().Run(ctx) }

// RunUntilInterrupt runs the hub until Ctrl-C: see flow's Graph.RunUntilInterrupt.
func (h *Hub) RunUntilInterrupt(ctx context.Context) error { return h.Graph().RunUntilInterrupt(ctx) }

// Graph returns the graph of the hub, which reads the log for all sockets of the process and checks
// them. Only one may run at a time. Its drain waits for the sockets, so CloseTimeout should be less
// than its DrainTimeout.
func (h *Hub) Graph(opts ...flow.GraphOption) *flow.Graph {
	clock := []flow.StageOption{flow.Name("clock")}
	if h.err != nil {
		clock = append(clock, flow.InvalidError(h.err))
	}
	ticks := source.Every(sweepEvery, func(t time.Time) time.Time { return t }, clock...)
	parts := []flow.Part{
		h.relay.Branch(),
		flow.To(
			ticks,
			flow.NewSink("sockets", func() flow.Writer[time.Time] { return &desk{hub: h} }, flow.OnFault(flow.Drop)),
		),
		flow.Log(h.cfg.Log),
	}
	if len(h.cfg.Secrets) == 0 {
		again := source.Every(sweepEvery, func(t time.Time) time.Time { return t }, flow.Name("seconds"))
		parts = append(parts, flow.To(again, sink.Func(h.shareSecret, flow.Name("secret"))))
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
	if h.life == nil || !h.life.open {
		return ErrNotReady
	}
	return nil
}

// enter reserves a place for a socket. leave releases it.
func (h *Hub) enter() (l *life, full bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.life == nil || !h.life.open:
		return nil, false
	case h.taken >= h.cfg.MaxSockets:
		return nil, true
	}
	h.taken++
	h.life.work.Add(1)
	return h.life, false
}

func (h *Hub) leave(l *life) {
	h.mu.Lock()
	h.taken--
	h.mu.Unlock()
	l.work.Done()
}

// ServeHTTP upgrades a request to a socket. It returns after the handshake, so middleware around
// the hub sees only the handshake. A request is refused with 401 by Authenticate, with 403 if it
// comes from a page of another host, with 503 when the hub is full or not running, and with 400,
// 405 or 426 if it is not a handshake. A page cannot see the status of a handshake. So if
// Authenticate or Origins refuses a client that asks for the Subprotocol, the socket is opened and
// closed at once, with 4000 plus the status: 4401 or 4403.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l, full := h.enter()
	var leave func()
	if l != nil {
		var ok bool
		if leave, ok = places.Take(r.Context()); !ok { // the other connections are reserved for plain requests
			h.leave(l)
			l, full = nil, true
		}
	}
	if l == nil {
		h.stats.refused.Add(1)
		w.Header().Set("Retry-After", "2")
		text := "hub is not running, try again later"
		if full {
			text = "too many sockets, try again later"
		}
		http.Error(w, text, http.StatusServiceUnavailable)
		return
	}
	began := false
	defer func() {
		if !began {
			h.stats.refused.Add(1)
			h.leave(l)
			leave()
		}
	}()
	var who Identity
	status, err := 0, h.checkOrigin(r)
	if err != nil {
		status = http.StatusForbidden
	} else if who, status, err = h.authenticate(r); err != nil && status < 400 {
		status = http.StatusUnauthorized
	}
	if err != nil {
		h.cfg.Log.Info("socket refused", "hub", h.name, "status", status, "error", err)
		if !h.turn(r) {
			http.Error(w, http.StatusText(status), status)
			return
		}
		defer h.turnDone(&began)
	}
	refused := err != nil
	s := newSocket(h, l, who)
	s.vacate = leave
	up := &upgrade{ResponseWriter: w, timeout: h.cfg.WriteTimeout, clock: h.clock}
	conn, err := websocket.Accept(up, r, &websocket.AcceptOptions{Subprotocols: []string{Subprotocol},
		InsecureSkipVerify: true, // see checkOrigin
		CompressionMode:    websocket.CompressionDisabled, OnPingReceived: s.pinged, OnPongReceived: s.ponged})
	if err != nil {
		h.cfg.Log.Info("socket refused", "hub", h.name, "error", err)
		return // Accept has written the response
	}
	conn.SetReadLimit(int64(h.cfg.MaxMessage))
	s.conn, s.wire = conn, up.wire
	began = true
	h.admit(s)
	// Not in this goroutine: net/http would keep its buffers until the socket ends.
	if refused {
		h.stats.refused.Add(1)
		l.work.Go(func() { s.turnAway(websocket.StatusCode(4000+status), http.StatusText(status)) })
		return
	}
	l.work.Go(s.live)
}

// admit registers a socket.
func (h *Hub) admit(s *socket) {
	h.mu.Lock()
	h.sockets[s] = struct{}{}
	closing := !s.life.open
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
	h.leave(s.life)
	s.vacate()
}

// room adds by to the number of sockets in a room.
func (h *Hub) room(name string, by int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rooms[name] += by; h.rooms[name] <= 0 {
		delete(h.rooms, name)
	}
}
