package gateways

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio"
)

// SSEConfig configures SSE. Key or Feed is required; the zero value of the rest is the default.
type SSEConfig struct {
	// Key is the stream that all clients get all of.
	Key string
	// Feed says what a client gets instead: which stream, and which topics of it. It is the place
	// to find out who asks. Choose the key from those that you know: one that is made of what the
	// request says lets anybody read any stream. A *RemoteError is answered by its code, as
	// Errorf(CodeUnauthorized, …); any other error with 403.
	Feed func(*http.Request) (Feed, error)
	// Event makes of an entry what clients get, once for all of them. The default reads what
	// Publish writes, and all native entries: their type, their data, and their key as the only
	// topic. Entries that it returns an error for are passed over, counted and logged.
	Event func(*redisio.Entry) (SSEEvent, error)

	// From is where a client begins that does not say what it had last: "" is now, and "0" the
	// beginning of what there is.
	From string
	// Overflow is what becomes of a client that reads more slowly than its events come. The default is OverflowPause.
	Overflow Overflow
	// Queue is how many events may wait for a client in memory. The default is 256.
	Queue int
	// Heartbeat is how long a connection may be silent. The default is 15 s.
	Heartbeat time.Duration
	// Retry is how long clients are told to wait before they connect again. The default is 2 s.
	Retry time.Duration
	// WriteTimeout is how long a client may take to read 64 KiB. A client that does not read is cut off.
	// Defaults to 10 s. Serve limits what the system holds for a client to 64 KiB. Behind another
	// server it may hold 4 MB, and clients slower than about 150 KB/s may be cut off.
	WriteTimeout time.Duration
	// MaxClients and MaxStreams are how many clients there may be at once, and how many streams for
	// them, each of which takes a connection to Redis: for many small feeds use topics of one
	// stream. What is beyond is answered with 503. The defaults are 10,000 and 64.
	MaxClients int
	MaxStreams int

	// Origins are those whose pages may read the events, as https://app.example.com, or "*" for
	// all; Credentials lets them send cookies, which does not go with "*". The default is none but
	// the server's own.
	Origins     []string
	Credentials bool
	// Log gets faults. Defaults to the warnings and errors of slog.Default, see flow.Logger.
	Log *slog.Logger
}

// Feed is what a client gets.
type Feed struct {
	Key    string   // of the stream; "" is answered with 404
	Topics []string // those of its events that the client gets
	All    bool     // or all of them
}

// SSEEvent is an event as clients get it.
type SSEEvent struct {
	// Type is what listeners in the browser are added for; "" is "message". "gap", "overflow" and "keepalive" are
	// the gateway's own. One with a line break in it is no type.
	Type string
	// Data is text; what is not UTF-8 of it is replaced.
	Data []byte
	// Topics are what it is about: clients who want one of them get it.
	Topics []string
}

// Overflow is what becomes of a client that is too slow.
type Overflow int

const (
	// OverflowPause lets it go on at its own pace: Redis is its buffer. What is trimmed before it
	// gets there is told as a gap.
	OverflowPause Overflow = iota
	// OverflowDropOldest drops what has waited longest, and tells so as a gap.
	OverflowDropOldest
	// OverflowClose tells it so, by the event "overflow", and ends the connection: it may come again, and catch up.
	OverflowClose
)

const (
	defaultHeartbeat = 15 * time.Second
	defaultSSERetry  = 2 * time.Second
	defaultSSEWrite  = 10 * time.Second
	defaultClients   = 10_000
	listenTimeout    = 5 * time.Second // for Redis to say where a client begins
	busyRetry        = 5 * time.Second // what clients are told that are too many
)

// EventStream serves the events of Redis Streams to browsers as server-sent events. It is an
// http.Handler for GET, of any mux and of HTTP/1.1 and HTTP/2.
//
// Each event has the ID of its entry. A client that reconnects names the ID it had last, and gets all later
// events, from any process. Browsers send the ID in the header Last-Event-ID. Polyfills send it in the
// query: lastEventId, last-event-id, last_event_id and evs_last_event_id are known, in any case. The
// header wins over the query, and the last parameter over others. A client is told of lost events:
//
//	event: gap
//	id: 1732360000000-0
//	data: {"from":"1732350000000-0","to":"1732360000000-0","missed":12}
//
// Behind a gap the client should ask for the state of things anew; missed is -1 where it is not
// known. An ID that makes no sense, or that is still to come, is a gap too.
//
// A silent connection gets a comment from time to time, see Heartbeat. When there were events for other
// clients meanwhile, it gets an event that moves the ID on instead, so that a reconnect is cheap:
//
//	event: keepalive
//	id: 1732360000000-0
//	data: {}
//
// Browsers do not pass it to onmessage. All that is sent is an event with data, or a comment, because some
// client libraries take each block for an event.
//
// Each stream is read once in a process, however many clients there are, for as long as there are
// any. When the server stops the request's context ends and so does the answer (see Serve; with
// other servers call Close), and clients go on elsewhere.
//
// Browsers connect again by themselves when a connection breaks, but not when the answer is an
// error: a page should make a new EventSource after 503.
type EventStream struct {
	cfg  SSEConfig
	err  error // of the configuration
	pool *relay.Pool[[]byte]
	cors cors

	mu      sync.Mutex
	clients int
	closed  bool
	idle    chan struct{} // closed when the last client has gone; nil before Close

	refused, slow, broken atomic.Int64
}

// SSE makes a handler of server-sent events. It does no I/O. Mistakes in its arguments are what it
// answers with 500, and Validate.
//
//	events := gateways.SSE(rdb, gateways.SSEConfig{Key: "{orders}:events"})
//	defer events.Close(ctx)
//	mux.Handle("GET /events", events)
func SSE(rdb redis.UniversalClient, cfg SSEConfig) *EventStream {
	g := &EventStream{}
	g.err = cfg.validate()
	if cfg.Event == nil {
		cfg.Event = nativeEvent
	}
	def(&cfg.Heartbeat, defaultHeartbeat)
	def(&cfg.Retry, defaultSSERetry)
	def(&cfg.WriteTimeout, defaultSSEWrite)
	def(&cfg.MaxClients, defaultClients)
	cfg.Log = flow.Thinned(cfg.Log)
	if cfg.Feed == nil {
		cfg.Feed = func(*http.Request) (Feed, error) { return Feed{Key: cfg.Key, All: true}, nil }
	}
	g.cfg, g.cors = cfg, corsOf(CORSConfig{Origins: cfg.Origins, Credentials: cfg.Credentials, Methods: []string{"GET"},
		Headers: []string{"Last-Event-ID", "Cache-Control", "Authorization"}})
	g.cors.expose = ""
	g.pool = relay.NewPool(rdb, relay.PoolConfig[[]byte]{
		Config:     relay.Config[[]byte]{Decode: frameOf(cfg.Event), Queue: max(0, cfg.Queue), Log: cfg.Log},
		MaxStreams: max(0, cfg.MaxStreams),
	})
	if redisio.IsNilClient(rdb) {
		g.err = errors.Join(
			g.err,
			&redisio.ConfigError{
				Type:    "SSE",
				Field:   "rdb",
				Problem: "the Redis client is nil",
				Fix:     "pass one, see redisio.Connect",
			},
		)
	} else {
		g.err = errors.Join(g.err, g.pool.Validate())
	}
	return g
}

func (c SSEConfig) validate() error {
	var errs []error
	bad := func(wrong bool, field, problem, fix string) {
		if wrong {
			errs = append(errs, &redisio.ConfigError{Type: "SSEConfig", Field: field, Problem: problem, Fix: fix})
		}
	}
	bad(c.Key == "" && c.Feed == nil, "Key", "is empty", "name the stream, or say by Feed who gets which")
	bad(c.Key != "" && c.Feed != nil, "Feed", "is set beside Key", "choose one")
	bad(
		c.Overflow < OverflowPause || c.Overflow > OverflowClose,
		"Overflow",
		fmt.Sprintf("is %d", c.Overflow),
		"choose one of the Overflow constants",
	)
	bad(c.From != "" && c.From != "0", "From", "is "+quoted(c.From), `choose "" for now, or "0" for the beginning`)
	bad(c.Queue < 0, "Queue", "is negative", "leave it 0 for 256 events")
	bad(c.Heartbeat < 0, "Heartbeat", "is negative", "leave it 0 for 15 seconds")
	bad(c.Retry < 0, "Retry", "is negative", "leave it 0 for 2 seconds")
	bad(c.WriteTimeout < 0, "WriteTimeout", "is negative", "leave it 0 for 10 seconds")
	bad(c.MaxClients < 0, "MaxClients", "is negative", "leave it 0 for 10,000 clients")
	bad(c.MaxStreams < 0, "MaxStreams", "is negative", "leave it 0 for 64 streams")
	checkOrigins(c.Origins, c.Credentials, func(field, problem, fix string) { bad(true, field, problem, fix) })
	return errors.Join(errs...)
}

// Validate reports what is wrong with what the handler was made of. It needs no server.
func (g *EventStream) Validate() error { return g.err }

// SSEStats are what an EventStream does, and did since it was made.
type SSEStats struct {
	Clients int   // now
	Streams int   // read now, or until a moment ago
	Refused int64 // with 503: there were too many
	Slow    int64 // ended because of OverflowClose
	Broken  int64 // did not read in time, or went away
}

// Stats tells what the handler does.
func (g *EventStream) Stats() SSEStats {
	g.mu.Lock()
	n := g.clients
	g.mu.Unlock()
	return SSEStats{n, g.pool.Streams(), g.refused.Load(), g.slow.Load(), g.broken.Load()}
}

// enter counts a client; leave ends that.
func (g *EventStream) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return refusal{
			Status:  http.StatusServiceUnavailable,
			Code:    CodeUnavailable,
			Message: "the server is stopping: try again",
			retry:   retryAfter,
		}
	case g.clients >= g.cfg.MaxClients:
		g.refused.Add(1)
		return refusal{
			Status:  http.StatusServiceUnavailable,
			Code:    CodeOverloaded,
			Message: "too many clients: try again later",
			retry:   busyRetry,
		}
	}
	g.clients++
	return nil
}

func (g *EventStream) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.clients--; g.clients == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// Close ends all connections, which clients may make again elsewhere, and waits for that until ctx
// is done. The Redis client is left as it is.
func (g *EventStream) Close(ctx context.Context) error {
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
			fmt.Errorf("gateways: clients of server-sent events are connected yet: %w", context.Cause(ctx)),
		)
	}
}
