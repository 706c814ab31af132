package gateways

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// ClientConfig configures a Client. The zero value is the default.
type ClientConfig struct {
	// Timeout is how long a call may take whose context has no deadline. The default is 10 s, and 3
	// s with StreamersonV1. Streamed replies may go on for as long as their context does.
	Timeout time.Duration
	// MaxInFlight is how many calls may wait for replies at once; what is beyond it fails with
	// ErrOverloaded, at once. The default is 4096.
	MaxInFlight int
	// MaxWait is how long a request may have to wait before a service takes it, as the number of
	// those before it and the rate at which they are taken tell: other clients' count too. A call
	// that would wait longer, or beyond its deadline, fails with an *OverloadError, at once. It is
	// meant for bursts: once the wait has been a fifth of it for half a second, a tenth is the
	// most, until there is next to none. What the services have taken and not begun is up to their
	// MaxInFlight and comes on top. The default is 250 ms; negative means that calls are not
	// refused for that. Where nobody takes anything the services are away, which is no overload:
	// calls wait, and time out. What was seen before an outage, or in it, refuses nothing.
	MaxWait time.Duration
	// Group is the consumer group of the services, for MaxWait. The default is "service".
	Group string
	// Window is how many parts of a streamed reply the service may send ahead. The default is 64, the most 4096.
	Window int
	// MaxLen is how many requests that the services are done with stay in their stream, and what
	// comes within a tenth of a second. Those that they are not done with stay whatever their
	// number, as all do before there is a service. The default is 10,000.
	MaxLen int64
	// MaxWaiting and MaxWaitingBytes are how many requests, of all clients, and how much memory of
	// Redis for them, may wait in their stream or be handled. More calls and messages fail with
	// ErrOverloaded. Each client sees the stream ten times a second, and may send a little more in
	// between. Default to 10,000 and 256 MiB. StreamersonV1 has no such limit.
	MaxWaiting      int64
	MaxWaitingBytes int64
	// SendExpiry is how long a message without an answer, of Send and FireAndForget, waits at most:
	// services skip those that are older, and count them as Expired. Defaults to 24 hours. Negative
	// means that they wait for ever.
	SendExpiry time.Duration
	// MaxPayload bounds the bytes of a request. The default is 1 MiB.
	MaxPayload int
	// MailboxTTL is how long the stream of this client's replies outlives it. The default is one
	// minute. It holds 16,384 replies that are not read, as of a client that hangs; beyond that the
	// oldest are lost, and their calls time out.
	MailboxTTL time.Duration
	// Wire is how requests and replies are spelled. The default is this project's own;
	// StreamersonV1 is for the workers of streamerson for Node.
	Wire Wire
	// Log gets what the client notices. Defaults to the warnings and errors of slog.Default, see flow.Logger.
	Log *slog.Logger
}

const (
	defaultWindow = 64
	maxWindow     = 4096

	defaultTimeout = 10 * time.Second
)

func (c ClientConfig) withDefaults() ClientConfig {
	def(&c.Timeout, defaultTimeout)
	def(&c.MaxInFlight, 4096)
	def(&c.MaxWait, 250*time.Millisecond)
	if c.Group == "" {
		c.Group = defaultGroup
	}
	def(&c.Window, defaultWindow)
	def(&c.MaxLen, 10_000)
	def(&c.MaxWaiting, 10_000)
	def(&c.MaxWaitingBytes, 256<<20)
	def(&c.SendExpiry, 24*time.Hour)
	def(&c.MaxPayload, 1<<20)
	def(&c.MailboxTTL, time.Minute)
	c.Log = flow.Thinned(c.Log)
	return c
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c ClientConfig) validate() error {
	var errs []error
	bad := func(field, problem, fix string) {
		errs = append(errs, &redisio.ConfigError{Type: "ClientConfig", Field: field, Problem: problem, Fix: fix})
	}
	if c.Timeout < 0 {
		bad("Timeout", "is negative", "leave it 0 for 10 seconds")
	}
	if c.MaxInFlight < 0 {
		bad("MaxInFlight", "is negative", "leave it 0 for 4096 calls")
	}
	if c.Window < 0 || c.Window > maxWindow {
		bad("Window", "is "+strconv.Itoa(c.Window), "choose up to 4096 parts")
	}
	if c.MaxLen < 0 {
		bad("MaxLen", "is negative", "leave it 0 for 10,000 entries")
	}
	if c.MaxWaiting < 0 {
		bad("MaxWaiting", "is negative", "leave it 0 for 10,000 requests")
	}
	if c.MaxWaitingBytes < 0 {
		bad("MaxWaitingBytes", "is negative", "leave it 0 for 256 MiB")
	}
	if c.MaxPayload < 0 {
		bad("MaxPayload", "is negative", "leave it 0 for 1 MiB")
	}
	if c.MailboxTTL < 0 || c.MailboxTTL > 0 && c.MailboxTTL < 5*time.Second {
		bad(
			"MailboxTTL",
			"is "+c.MailboxTTL.String(),
			"choose 5 seconds or more: replies that come while the client is slow would be lost",
		)
	}
	return errors.Join(errs...)
}

// Client asks the services of a topic. It is safe for concurrent use, and one is enough for a
// process: all its calls share a pipeline for their requests and one stream for their replies, its
// mailbox, which goes away with it.
//
// It connects with the first call. A call ends at its deadline, whatever Redis does. While Redis is
// away, calls fail with ErrUnavailable within about a tenth of a second, and while it is out of
// memory, they fail with ErrFull at once. Requests are written at least once: a request whose
// writing was in doubt is written again with the same ID, and services answer it once.
type Client struct {
	cfg     ClientConfig
	rdb     redis.UniversalClient
	topic   keys
	speech  dialect
	own     string        // of this client alone; part of its keys and ids
	err     error         // of the configuration
	next    atomic.Uint64 // the number of the last request, part of its ID
	out     *outbox
	notes   chan note // cancels and credits, on their way
	mailbox mailbox
	load    load
	crowd   crowd

	// Of tend alone.
	trimmed uint64    // how many requests had been sent by the last trimming
	tidied  time.Time // when that was
	behind  bool      // it left too many: the services were not done with them
	told    bool      // that they can't be trimmed

	running atomic.Pointer[flow.Running]

	mu      sync.Mutex
	waiting map[string]*pending
	closed  bool
	idle    chan struct{} // closed when the last call has ended after Close; nil before

	calls []*pending // of receive alone
}

// pending is a call that waits for its reply, or for the parts of it.
type pending struct {
	letter
	reply Response // before the event that says so
	parts *parts   // of a streamed reply

	request Request
	format  redisio.Format[Request]
	until   time.Time // of one that is answered
	replyTo string
	space   [6]redisio.Field // of letter.out, for most requests
}

// NewClient makes a client for the services of a topic. It does no I/O. Mistakes in its arguments
// are what its calls fail with, and Validate.
func NewClient(rdb redis.UniversalClient, topic string, cfg ClientConfig) *Client {
	speech, wrong := speak(cfg.Wire, "NewClient", topic)
	def(&cfg.Timeout, speech.timeout)
	c := &Client{
		rdb:     rdb,
		topic:   speech.keys,
		speech:  speech,
		own:     rand.Text()[:16],
		waiting: make(map[string]*pending),
	}
	c.cfg = cfg.withDefaults()
	c.err = errors.Join(needClient(rdb), wrong, cfg.validate())
	c.notes = make(chan note, 1024)
	c.mailbox = mailbox{key: c.topic.mailbox + c.own, ttl: c.cfg.MailboxTTL, rdb: rdb, full: make(chan struct{}, 1)}
	if speech.shared != "" {
		c.mailbox.key, c.mailbox.shared = speech.shared, true
	}
	c.load = load{rdb: rdb, key: c.topic.requests, group: c.cfg.Group, most: c.cfg.MaxWait}
	c.crowd = crowd{
		rdb:   rdb,
		key:   c.topic.requests,
		most:  c.cfg.MaxWaiting,
		bytes: c.cfg.MaxWaitingBytes,
		own:   speech.own,

		aliveFor: redisio.AliveFor,
	}
	c.out = newOutbox(rdb, redisio.WriterConfig{Key: c.topic.requests, MaxPayload: c.cfg.MaxPayload, Depth: 512})
	c.out.open = c.connect
	return c
}

func needClient(rdb redis.UniversalClient) error {
	if redisio.IsNilClient(rdb) {
		return &redisio.ConfigError{
			Type:    "NewClient",
			Field:   "rdb",
			Problem: "the Redis client is nil",
			Fix:     "pass one, see redisio.Connect",
		}
	}
	return nil
}

// Validate reports what is wrong with what the client was made of. It needs no server.
func (c *Client) Validate() error { return c.err }

// Ready returns an error while the client could not be answered: before it is connected, while its
// graph is not ready, and while no process serves the topic. The first Ready connects. It is for
// readiness probes, see the function Ready.
func (c *Client) Ready() error {
	if c.err != nil {
		return c.err
	}
	run := c.running.Load()
	switch {
	case run == nil:
		c.out.kick()
		return fmt.Errorf("%w: the client connects", ErrUnavailable)
	case c.crowd.alone.Load() != 0:
		return ErrNoService
	}
	return run.Ready()
}

// Do asks, and waits for the reply. What the service answered with an error is a *RemoteError;
// other errors are ErrTimeout, ErrUnavailable, ErrFull, ErrNoService, ErrOverloaded, ErrClosed, a
// *redisio.TooLargeError, and the context's cause when it was cancelled, which the service is told.
// An ErrTimeout that is ErrUnavailable as well says that the request was not sent. The ID, Attempt
// and traceparent of the request are the client's to set, unless they are set.
func (c *Client) Do(ctx context.Context, r Request) (Response, error) {
	until, own := c.until(ctx, r.timeout)
	p, err := c.ask(ctx, until, &r)
	if err != nil {
		return Response{}, err
	}
	defer c.forget(r.ID, p)
	var late <-chan time.Time
	if own {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		late = t.C
	}
	select {
	case e := <-p.ev:
		if e.what == replied {
			return p.reply, p.reply.failure()
		}
		return Response{}, e.err
	case <-late:
		return Response{}, c.giveUp(r.ID, p, tooLate())
	case <-ctx.Done():
		return Response{}, c.giveUp(r.ID, p, gaveUp(ctx))
	}
}

// giveUp is the end of a call that does not wait any longer. It returns the call's error.
func (c *Client) giveUp(id string, p *pending, err error) error {
	c.cancel(id)
	c.crowd.leave(c.out.entry(&p.letter))
	return c.out.unsent(&p.letter, err)
}

// Send tells the services something that is not answered: it returns when Redis has it. One process
// of the service handles it, and again if that fails, as any entry of a stream. It is skipped after
// ClientConfig.SendExpiry.
func (c *Client) Send(ctx context.Context, r Request) error {
	until, own := c.until(ctx, r.timeout)
	if own {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	if c.err != nil {
		return c.err
	}
	p := &pending{}
	if err := c.address(ctx, until, &r, p, false); err != nil {
		return err
	}
	return c.out.write(ctx, &p.letter)
}

// gaveUp is the error of a call whose context is done.
func gaveUp(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrTimeout, context.Cause(ctx))
	}
	return fmt.Errorf("gateways: call was cancelled: %w", context.Cause(ctx))
}

// tooLate is the error of a call whose time is over by the client's own timeout.
func tooLate() error { return fmt.Errorf("%w: %w", ErrTimeout, context.DeadlineExceeded) }

// until is how long a call may take. It is the call's own if it comes before the context's
// deadline; a timer for it is cheaper than a context.
func (c *Client) until(ctx context.Context, timeout time.Duration) (until time.Time, own bool) {
	until, has := ctx.Deadline()
	if timeout <= 0 {
		if has {
			return until, false
		}
		timeout = c.cfg.Timeout
	}
	if at := time.Now().Add(timeout); !has || at.Before(until) {
		return at, true
	}
	return until, false
}

// ask sends a request that is to be answered. until is zero if the answer has no end in time.
func (c *Client) ask(ctx context.Context, until time.Time, r *Request) (*pending, error) {
	if c.err != nil {
		return nil, c.err
	}
	p := &pending{}
	p.ev = make(chan event, events)
	if r.window > 0 {
		p.parts = newParts(r.window)
	}
	if err := c.address(ctx, until, r, p, true); err != nil {
		return nil, err
	}
	if err := c.load.admit(until); err != nil {
		return nil, err
	}
	c.mu.Lock()
	switch {
	case c.closed:
		c.mu.Unlock()
		return nil, ErrClosed
	case len(c.waiting) >= c.cfg.MaxInFlight:
		c.mu.Unlock()
		return nil, fmt.Errorf("%w: %d calls of this client wait for replies", ErrOverloaded, c.cfg.MaxInFlight)
	case c.waiting[r.ID] != nil:
		c.mu.Unlock()
		return nil, fmt.Errorf("gateways: a request with the ID %q is in flight already: leave the ID out", r.ID)
	}
	c.waiting[r.ID] = p // before the request is sent: its reply can't come too early
	c.mu.Unlock()
	c.out.post(&p.letter)
	return p, nil
}

// address encodes a request.
func (c *Client) address(ctx context.Context, until time.Time, r *Request, p *pending, answered bool) (err error) {
	switch {
	case ctx.Err() != nil:
		return gaveUp(ctx)
	case expired(until):
		return tooLate()
	}
	if err := c.crowd.admit(c.next.Load(), answered); err != nil {
		return err
	}
	n := c.next.Add(1)
	if r.ID == "" {
		r.ID = c.own + "-" + strconv.FormatUint(n, 36)
	}
	r.Headers = passed(ctx, r.Headers)
	if err := checkLimits(r); err != nil {
		return err
	}
	p.request = *r
	switch {
	case answered:
		p.replyTo, p.until = c.mailbox.key, until
	case c.cfg.SendExpiry > 0:
		p.until = time.Now().Add(c.cfg.SendExpiry)
	}
	p.again, p.format = p, c.speech.request
	p.out.Fields, err = p.encode(p.space[:0], false)
	return err
}

func (p *pending) encode(fields redisio.Fields, again bool) (redisio.Fields, error) {
	r := &p.request
	e := envelopes.Get().(*redisio.Envelope)
	defer envelopes.Put(e)
	*e = redisio.Envelope{ReplyTo: p.replyTo, MaybeDuplicate: again, Headers: e.Headers[:0]}
	if !p.until.IsZero() { // the clocks of services may differ: a duration travels
		e.Limit = max(time.Until(p.until), time.Millisecond)
	}
	size := len(r.Body) + len(r.Type) + len(r.ID) + len(r.Key) + len(r.ContentType) + len(p.replyTo) + 32
	for i := range r.Headers {
		size += len(r.Headers[i].Name) + len(r.Headers[i].Value) + 8
	}
	if n := 6 + len(r.Headers); n > cap(fields) {
		fields = make(redisio.Fields, 0, n)
	}
	buf := make([]byte, 0, size)
	fields, _, err := p.format.Encode(fields, buf, e, *r)
	return fields, err
}

// envelopes are used again: formats take pointers to them.
var envelopes = sync.Pool{New: func() any { return new(redisio.Envelope) }}

// rewrite says in the request that there may be another one.
func (p *pending) rewrite() redisio.Fields {
	if fields, err := p.encode(nil, true); err == nil {
		return fields
	}
	return p.out.Fields
}

// forget ends a call.
func (c *Client) forget(id string, p *pending) {
	c.mu.Lock()
	if c.waiting[id] == p { // else it was answered, and there may be another of that ID
		delete(c.waiting, id)
	}
	if c.idle != nil && len(c.waiting) == 0 {
		close(c.idle)
		c.idle = nil
	}
	c.mu.Unlock()
	c.out.leave(&p.letter)
}

// cancel tells the services, as far as that can be done without waiting, that nobody waits for a reply any more.
func (c *Client) cancel(id string) {
	if c.topic.control == "" {
		return
	}
	select {
	case c.notes <- note{kind: kindCancel, id: id}:
	default:
	}
}

// receive hands out replies that have come. It runs in the client's graph.
func (c *Client) receive(_ context.Context, chunk []flow.Message[Response]) error {
	calls := c.calls[:0]
	c.mu.Lock()
	for i := range chunk {
		id := chunk[i].Meta().MessageID
		p := c.waiting[id]
		if p != nil && p.parts == nil {
			delete(c.waiting, id) // what comes after it is a copy
		}
		calls = append(calls, p)
	}
	c.mu.Unlock()
	size := 0
	for i, p := range calls {
		size += len(chunk[i].Value.Body)
		switch {
		case p == nil: // of a call that has ended, or a copy
		case p.parts == nil:
			p.reply = chunk[i].Value
			p.ev <- event{what: replied}
		default:
			p.parts.put(chunk[i].Value)
		}
	}
	c.mailbox.seen(chunk[len(chunk)-1].ID())
	c.mailbox.took(size)
	clear(calls)
	c.calls = calls
	return nil
}
