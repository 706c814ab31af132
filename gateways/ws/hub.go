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

// Hub is where the sockets of a process meet: an http.Handler that upgrades requests, and a graph
// that has to run for it. Hubs of one name, in many processes, are one to their clients, who may
// come back to any of them.
//
// What clients say goes to the workers, see Inbound; what workers say to the clients, see Outbound.
// A hub runs without workers, and workers without a hub.
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
	life    *life // while it runs; nil else
	taken   int   // sockets, and requests that are being upgraded
	sockets map[*socket]struct{}
	rooms   map[string]int // how many sockets of this process are in each
	users   map[string]*budget
	turned  int // sockets that are told that they were refused

	stats counters
}

// life is a hub while it runs.
type life struct {
	ctx    context.Context // of what sockets wait for; done when the hub is at its end
	cancel context.CancelCauseFunc
	seal   *sealer

	unshared atomic.Bool // the last try to share its secret failed

	inbox *source.Inbox[said]
	work  sync.WaitGroup // sockets, and requests that are being upgraded; added to while open only
	open  bool           // guarded by Hub.mu
}

// NewHub makes a hub. It does no I/O. Mistakes in its arguments are reported by Validate and by Run.
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

// Validate reports all mistakes in how the hub was made, without a server.
func (h *Hub) Validate() error { return h.err }

// Run runs the hub until ctx is done; then its sockets are told to reconnect, what is under way is
// finished, and they are closed: see flow's Graph.Run.
func (h *Hub) Run(ctx context.Context) error { return h.Graph().Run(ctx) }

// RunUntilInterrupt runs the hub until Ctrl-C: see flow's Graph.RunUntilInterrupt.
func (h *Hub) RunUntilInterrupt(ctx context.Context) error { return h.Graph().RunUntilInterrupt(ctx) }

// Graph is the hub as the graph that has to run for it: it reads the log for all sockets of the
// process, and looks after them. One at a time may run. Its drain waits for the sockets, so
// CloseTimeout should be less than its DrainTimeout.
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

// ErrNotReady is what Ready returns while the hub takes no sockets.
var ErrNotReady = errors.New("ws: the hub does not run")

// Ready is nil while the hub takes sockets: for the probes of a service.
func (h *Hub) Ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.life == nil || !h.life.open {
		return ErrNotReady
	}
	return nil
}

// enter takes a place for a socket. Leave it with leave.
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

// ServeHTTP upgrades a request to a socket. It returns as soon as that is done: what wraps the hub
// sees the handshake only. Requests are refused with 401 by Authenticate, 403 from pages of other
// hosts, 503 when the hub is full or does not run, and 400, 405 or 426 when they are no handshakes.
// A page can't see the status of a handshake. So a client that asks for the Subprotocol is let in
// for a refusal by Authenticate or Origins, and its socket closed at once, with 4000 and the
// status: 4401, 4403.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l, full := h.enter()
	var leave func()
	if l != nil {
		var ok bool
		if leave, ok = places.Take(r.Context()); !ok { // the rest of the server's connections is for others
			h.leave(l)
			l, full = nil, true
		}
	}
	if l == nil {
		h.stats.refused.Add(1)
		w.Header().Set("Retry-After", "2")
		text := ErrNotReady.Error()
		if full {
			text = "too many sockets"
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
		return // Accept has answered
	}
	conn.SetReadLimit(int64(h.cfg.MaxMessage))
	s.conn, s.wire = conn, up.wire
	began = true
	h.admit(s)
	// Not in this goroutine: net/http would keep its buffers for as long.
	if refused {
		h.stats.refused.Add(1)
		l.work.Go(func() { s.turnAway(websocket.StatusCode(4000+status), http.StatusText(status)) })
		return
	}
	l.work.Go(s.live)
}

// admit makes the hub know a socket.
func (h *Hub) admit(s *socket) {
	h.mu.Lock()
	h.sockets[s] = struct{}{}
	closing := !s.life.open
	h.mu.Unlock()
	h.stats.opened.Add(1)
	if closing { // while it was upgraded
		s.leave()
	}
}

// dismiss forgets a socket that has ended.
func (h *Hub) dismiss(s *socket) {
	h.mu.Lock()
	delete(h.sockets, s)
	h.mu.Unlock()
	h.leave(s.life)
	s.vacate()
}

// room counts the sockets in a room.
func (h *Hub) room(name string, by int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rooms[name] += by; h.rooms[name] <= 0 {
		delete(h.rooms, name)
	}
}
