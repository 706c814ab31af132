package sse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/cors"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio"
)

// Config configures SSE. Key or Feed is required; the zero value of the rest is the default.
type Config struct {
	// Key is the stream with the events that all clients receive.
	Key string
	// Authenticate identifies the client for Feed. Defaults to anonymous clients.
	Authenticate gateways.Authenticator
	// Feed chooses, for each request, which stream and which of its topics the client receives.
	// Choose the key from known ones: a key taken from the request lets anybody read any stream. A
	// *RemoteError, such as Errorf(CodeUnauthorized, …), is answered with its code; any other error
	// with 403.
	Feed func(r *http.Request, who gateways.Identity) (Feed, error)
	// Event converts an entry into an event, once for all clients. The default reads native entries,
	// such as those of events.Publish: their type, their data, and their key as the only topic.
	// Entries for which it returns an error are skipped, counted and logged.
	Event func(*redisio.Entry) (Event, error)

	// From is where a client without a last event ID starts: "" is now, "0" is the oldest event.
	// Defaults to "".
	From string
	// Overflow is what happens to a client that reads more slowly than events arrive. Defaults to
	// OverflowPause.
	Overflow Overflow
	// Queue is how many events may wait for a client in memory. Defaults to 256.
	Queue int
	// Heartbeat is how long a connection may be silent before a heartbeat is sent. Defaults to 15
	// s.
	Heartbeat time.Duration
	// Retry is how long clients wait before they reconnect. Defaults to 2 s.
	Retry time.Duration
	// WriteTimeout is how long a client may take to read 64 KiB. A client that exceeds it is
	// disconnected. Defaults to 10 s. Serve limits the system's send buffer of a client to 64 KiB.
	// With other servers it may hold 4 MB, and clients slower than about 150 KB/s may be
	// disconnected.
	WriteTimeout time.Duration
	// MaxClients and MaxStreams limit the clients, and the streams read for them. Each stream uses
	// a connection to Redis: for many small feeds use topics of one stream. Further clients are
	// answered with 503. Default to 10,000 and 64.
	MaxClients int
	MaxStreams int

	// Origins are the origins, such as https://app.example.com, from which pages may read the
	// events, or "*" for all. Credentials lets them send cookies; it can't be combined with "*".
	// Defaults to none: only the server's own origin.
	Origins     []string
	Credentials bool
	// Log receives faults. Defaults to the warnings and errors of slog.Default, see flow.Logger.
	Log *slog.Logger
}

// Feed is what a client receives.
type Feed struct {
	Key    string   // of the stream; "" is answered with 404
	Topics []string // of the events that the client receives
	All    bool     // events of all topics
}

// Event is an event as clients receive it.
type Event struct {
	// Type is the event's type for addEventListener; "" is "message". "gap", "overflow" and
	// "keepalive" are reserved. A type with a line break is invalid.
	Type string
	// Data is text. Invalid UTF-8 is replaced.
	Data []byte
	// Topics are the topics of the event. Clients of any of them receive it.
	Topics []string
}

// Overflow is what happens to a client that is too slow.
type Overflow = relay.Overflow

const (
	// OverflowPause lets the client read at its own pace, with Redis as its buffer. If events are
	// trimmed before it reads them, it receives a gap.
	OverflowPause = relay.Pause
	// OverflowDropOldest drops the oldest waiting events and sends a gap.
	OverflowDropOldest = relay.DropOldest
	// OverflowClose sends the event "overflow" and closes the connection. The client may reconnect
	// and catch up.
	OverflowClose = relay.Close
)

const (
	defaultHeartbeat = 15 * time.Second
	defaultSSERetry  = 2 * time.Second
	defaultSSEWrite  = 10 * time.Second
	defaultClients   = 10_000
	listenTimeout    = 5 * time.Second // to find a client's start in Redis
	busyRetry        = 5 * time.Second // Retry-After above MaxClients and MaxStreams
)

// Handler serves the events of Redis Streams to browsers as server-sent events. It is an
// http.Handler for GET that works with any mux, over HTTP/1.1 and HTTP/2.
//
// Each event has the ID of its entry. A client that reconnects sends the last ID it received, and
// receives all later events, from any process. Browsers send the ID in the header Last-Event-ID.
// Polyfills send it in the query, as lastEventId, last-event-id, last_event_id or
// evs_last_event_id, in any case. The header takes precedence over the query, and the last
// parameter over earlier ones. If events were lost, the client receives:
//
//	event: gap
//	id: 1732360000000-0
//	data: {"from":"1732350000000-0","to":"1732360000000-0","missed":12}
//
// After a gap the client should reload the current state. missed is -1 if the number is unknown. An
// invalid ID, or one in the future, is a gap too.
//
// A silent connection receives a comment after each Heartbeat. If events for other clients were
// skipped meanwhile, it receives an event that advances the ID instead, so that a reconnect is
// cheap:
//
//	event: keepalive
//	id: 1732360000000-0
//	data: {}
//
// Browsers do not pass it to onmessage. Everything sent is an event with data, or a comment,
// because some client libraries treat each block as an event.
//
// A process reads each stream once for all its clients, as long as there are any. When the server
// stops, the request's context is cancelled and the response ends (see web.Serve; with other
// servers call Close). Clients then reconnect elsewhere.
//
// Browsers reconnect when a connection breaks, but not when the answer is an error: a page should
// create a new EventSource after 503.
type Handler struct {
	cfg  Config
	err  error // of the configuration
	pool *relay.Pool[[]byte]
	cors cors.Policy

	mu      sync.Mutex
	clients int
	closed  bool
	idle    chan struct{} // closed when the last client has left; nil before Close

	refused, slow, broken atomic.Int64
}

// New creates a handler of server-sent events. It does no I/O. Mistakes in its arguments are
// reported by Validate and answered with 500.
//
//	events := sse.New(rdb, sse.Config{Key: "{orders}:events"})
//	defer events.Close(ctx)
//	mux.Handle("GET /events", events)
func New(rdb redis.UniversalClient, cfg Config) *Handler {
	g := &Handler{}
	g.err = cfg.validate()
	if cfg.Event == nil {
		cfg.Event = nativeEvent
	}
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, defaultHeartbeat)
	cfg.Retry = cmp.Or(cfg.Retry, defaultSSERetry)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, defaultSSEWrite)
	cfg.MaxClients = cmp.Or(cfg.MaxClients, defaultClients)
	cfg.Log = flow.Thinned(cfg.Log)
	if cfg.Feed == nil {
		cfg.Feed = func(*http.Request, gateways.Identity) (Feed, error) { return Feed{Key: cfg.Key, All: true}, nil }
	}
	g.cfg = cfg
	g.cors = cors.Policy{Origins: slices.Clone(cfg.Origins), Credentials: cfg.Credentials, Methods: "GET",
		Headers: "Last-Event-ID, Cache-Control, Authorization", MaxAge: cors.DefaultMaxAge}
	g.pool = relay.NewPool(rdb, relay.PoolConfig[[]byte]{
		Config:     relay.Config[[]byte]{Decode: frameOf(cfg.Event), Queue: max(0, cfg.Queue), Log: cfg.Log},
		MaxStreams: max(0, cfg.MaxStreams),
	})
	m := redisio.MistakesOf("sse.New")
	m.Client(rdb)
	if m.Err() == nil { // the pool would report the client again
		m.Join(g.pool.Validate())
	}
	g.err = errors.Join(g.err, m.Err())
	return g
}

func (c Config) validate() error {
	m := redisio.MistakesOf("sse.Config")
	m.If(c.Key == "" && c.Feed == nil, "Key", "is empty", "name the stream, or set Feed")
	m.If(c.Key != "" && c.Feed != nil, "Feed", "is set together with Key", "choose one")
	m.Is(c.Overflow < OverflowPause || c.Overflow > OverflowClose, "Overflow", int(c.Overflow),
		"choose one of the Overflow constants")
	m.If(
		c.From != "" && c.From != "0",
		"From",
		fmt.Sprintf("is %.100q", c.From),
		`choose "" for now, or "0" for the beginning`,
	)
	m.Negative("Queue", int64(c.Queue), "leave it 0 for 256 events")
	m.Negative("Heartbeat", int64(c.Heartbeat), "leave it 0 for 15 seconds")
	m.Negative("Retry", int64(c.Retry), "leave it 0 for 2 seconds")
	m.Negative("WriteTimeout", int64(c.WriteTimeout), "leave it 0 for 10 seconds")
	m.Negative("MaxClients", int64(c.MaxClients), "leave it 0 for 10,000 clients")
	m.Negative("MaxStreams", int64(c.MaxStreams), "leave it 0 for 64 streams")
	cors.CheckOrigins(m, c.Origins, c.Credentials)
	return m.Err()
}

// Key returns the Key of the Config, "" with Feed.
func (g *Handler) Key() string { return g.cfg.Key }

// Validate reports all mistakes in the handler's arguments. It needs no server.
func (g *Handler) Validate() error { return g.err }

// Stats are the current state of a Handler, and its counts since it was created.
type Stats struct {
	Clients int   // now
	Streams int   // being read, or until a moment ago
	Refused int64 // with 503, above MaxClients or MaxStreams
	Slow    int64 // closed because of OverflowClose
	Broken  int64 // did not read in time, or disconnected
}

// Stats returns the state and the counts of the handler.
func (g *Handler) Stats() Stats {
	g.mu.Lock()
	n := g.clients
	g.mu.Unlock()
	return Stats{n, g.pool.Streams(), g.refused.Load(), g.slow.Load(), g.broken.Load()}
}

// enter adds a client to the number of clients, and leave removes it.
func (g *Handler) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return problem.New(gateways.CodeUnavailable, "server stopping: reconnect")
	case g.clients >= g.cfg.MaxClients:
		g.refused.Add(1)
		return problem.Error{
			Status:  http.StatusServiceUnavailable,
			Code:    gateways.CodeOverloaded,
			Message: "too many clients: retry later",
			Retry:   busyRetry,
		}
	}
	g.clients++
	return nil
}

func (g *Handler) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.clients--; g.clients == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// Close closes all connections and waits for that until ctx is done. Clients may reconnect
// elsewhere. The Redis client stays open.
func (g *Handler) Close(ctx context.Context) error {
	g.mu.Lock()
	if g.closed || g.err != nil {
		g.mu.Unlock()
		return nil
	}
	g.closed = true
	idle := make(chan struct{})
	if g.clients == 0 {
		close(idle)
	} else {
		g.idle = idle
	}
	g.mu.Unlock()
	err := g.pool.Close(ctx)
	select {
	case <-idle:
		return err
	case <-ctx.Done():
		return errors.Join(
			err,
			fmt.Errorf("gateways: SSE clients are still connected: %w", context.Cause(ctx)),
		)
	}
}
