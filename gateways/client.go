package gateways

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/outbox"
	"github.com/streamerson/streamerson-go/gateways/internal/plan"
	"github.com/streamerson/streamerson-go/gateways/internal/slot"
	"github.com/streamerson/streamerson-go/gateways/internal/traces"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// Client sends requests to the services of a topic. It is safe for concurrent use. One per process
// is enough: all its calls share a pipeline for requests and one stream for replies, its mailbox,
// which is deleted with the client.
//
// It connects with the first call. A call ends at its deadline, whatever the state of Redis. While
// Redis is unavailable, calls fail with ErrUnavailable within about a tenth of a second. While it
// is out of memory, they fail with ErrFull immediately. Requests are written at least once: if the
// outcome of a write is unknown, the request is written again with the same ID, and services answer
// it once.
type Client struct {
	cfg     ClientConfig
	rdb     redis.UniversalClient
	speech  dialect
	own     string        // unique to this client; part of its keys and IDs
	err     error         // of the configuration
	next    atomic.Uint64 // the number of the last request, part of its ID
	calls   calls
	out     *outbox.Outbox
	notes   chan note // cancels and credits, to be written
	mailbox mailbox
	crowd   crowd
	trimmer trimmer
	running atomic.Pointer[flow.Running]
	stats   clientCounters
}

// NewClient creates a client for the services of a topic. It does no I/O. Mistakes in its arguments
// are reported by Validate and by each call.
func NewClient(rdb redis.UniversalClient, topic string, cfg ClientConfig) *Client {
	speech, wrong := speak(cfg.Wire, "NewClient", topic)
	cfg.Timeout = cmp.Or(cfg.Timeout, speech.timeout)
	c := &Client{cfg: cfg.withDefaults(), rdb: rdb, speech: speech, own: rand.Text()[:16]}
	c.calls.waiting, c.calls.load.most = make(map[string]*pending), c.cfg.MaxWait
	key := speech.keys.Requests
	m := redisio.MistakesOf("NewClient")
	m.Client(rdb)
	c.err = errors.Join(m.Err(), wrong, cfg.validate())
	c.notes = make(chan note, 1024)
	c.cfg.User = cmp.Or(c.cfg.User, slot.UserOf(rdb))
	c.mailbox = mailbox{
		key:  speech.keys.Mailboxes(c.cfg.User) + c.own,
		ttl:  c.cfg.MailboxTTL,
		rdb:  rdb,
		full: make(chan struct{}, 1),
	}
	if speech.shared != "" {
		c.mailbox.key, c.mailbox.shared = speech.shared, true
	}
	c.crowd = crowd{
		rdb:   rdb,
		key:   key,
		most:  c.cfg.MaxWaiting,
		bytes: c.cfg.MaxWaitingBytes,
		own:   speech.own,

		aliveFor: reader.AliveFor,
	}
	c.trimmer = trimmer{rdb: rdb, key: key, most: c.cfg.MaxLen}
	c.out = outbox.New(
		rdb,
		writer.Config{Key: key, Tuning: writer.Tuning{MaxPayload: c.cfg.MaxPayload, Depth: 512}},
	)
	c.out.Open = c.connect
	return c
}

// Topic returns the key of the stream of requests.
func (c *Client) Topic() string { return c.speech.keys.Requests }

// Validate reports all mistakes in the client's arguments. It needs no server.
func (c *Client) Validate() error { return c.err }

// Ready returns an error if calls could not be answered: before the client is connected, while its
// graph is not ready, and while no process serves the topic. The first Ready connects. Use it in
// readiness probes, see the function Ready.
func (c *Client) Ready() error {
	if c.err != nil {
		return c.err
	}
	run := c.running.Load()
	switch {
	case run == nil:
		c.out.Kick()
		return fmt.Errorf("%w: the client is connecting", ErrUnavailable)
	case c.crowd.alone.Load() != 0:
		return ErrNoService
	}
	return run.Ready()
}

// Do sends a request and waits for the reply. An error answer of the service is a *RemoteError.
// Other errors are ErrTimeout, ErrUnavailable, ErrFull, ErrNoService, ErrOverloaded, ErrClosed, a
// *redisio.TooLargeError, and the cause of a cancelled context, which also cancels the handler. An
// ErrTimeout that also is ErrUnavailable reports that the request was not sent. The client sets the
// request's ID, Attempt and trace, unless they are set. If ctx has a tracer (see flow.WithTracer), the
// trace is that of the call's span.
func (c *Client) Do(ctx context.Context, r Request) (_ Response, err error) {
	now := time.Now()
	defer c.stats.calls.since(ctx, now, &err)
	defer traces.End(c.trace(ctx, flow.WorkCall, &r), &err)
	until, own := c.until(ctx, now, r.Timeout)
	p, err := c.ask(ctx, now, until, &r)
	if err != nil {
		return Response{}, err
	}
	var late <-chan time.Time
	if own {
		late = p.alarm(until.Sub(p.sent))
	}
	select {
	case err = <-p.Ev:
		if err == nil {
			return c.answered(p)
		}
	case <-late:
		err = c.giveUp(r.ID, p, tooLate())
	case <-ctx.Done():
		err = c.giveUp(r.ID, p, outbox.GaveUp(ctx))
	}
	if own {
		p.late.Stop()
	}
	c.forget(r.ID, p)
	return Response{}, err
}

// answered ends a call with its reply. p must not be used afterwards.
func (c *Client) answered(p *pending) (Response, error) {
	reply := p.reply
	if p.late != nil {
		p.late.Stop()
	}
	p.answered = true
	c.out.Leave(p)
	return reply, reply.Failure()
}

// giveUp ends a call that no longer waits. It returns the call's error.
func (c *Client) giveUp(id string, p *pending, err error) error {
	c.cancel(id)
	c.crowd.Leave(c.out.ID(&p.Entry))
	return c.out.Unsent(&p.Entry, err)
}

// Send sends a request that is not answered. It returns when Redis has stored the request. One
// process of the service handles it, and it is redelivered if that fails. It expires after
// ClientConfig.SendExpiry.
func (c *Client) Send(ctx context.Context, r Request) (err error) {
	p := &pending{sent: time.Now()}
	defer c.stats.sends.since(ctx, p.sent, &err)
	defer traces.End(c.trace(ctx, flow.WorkWrite, &r), &err)
	until, own := c.until(ctx, p.sent, r.Timeout)
	if own {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	if c.err != nil {
		return c.err
	}
	if err := c.address(ctx, until, &r, p, false); err != nil {
		return err
	}
	return c.out.Write(ctx, p)
}

// tooLate is the error of a call that exceeded the client's timeout.
func tooLate() error { return fmt.Errorf("%w: %w", ErrTimeout, context.DeadlineExceeded) }

// until returns a call's deadline. own reports that it is the call's timeout, not the context's
// deadline; a timer is cheaper than a context.
func (c *Client) until(ctx context.Context, now time.Time, timeout time.Duration) (until time.Time, own bool) {
	until, has := ctx.Deadline()
	if timeout <= 0 {
		if has {
			return until, false
		}
		timeout = c.cfg.Timeout
	}
	if at := now.Add(timeout); !has || at.Before(until) {
		return at, true
	}
	return until, false
}

// ask sends a request with an answer. until is zero without a deadline.
func (c *Client) ask(ctx context.Context, now, until time.Time, r *Request) (*pending, error) {
	if c.err != nil {
		return nil, c.err
	}
	p := c.calls.pending()
	p.sent = now
	if r.window > 0 {
		p.parts = newParts(r.window)
	}
	if err := c.address(ctx, until, r, p, true); err != nil {
		return nil, err
	}
	if err := c.calls.enter(r.ID, p, c.cfg.MaxInFlight); err != nil {
		return nil, err
	}
	c.out.Post(p)
	return p, nil
}

// address encodes a request, sent at p.sent.
func (c *Client) address(ctx context.Context, until time.Time, r *Request, p *pending, answered bool) error {
	switch {
	case ctx.Err() != nil:
		return outbox.GaveUp(ctx)
	case !until.IsZero() && !p.sent.Before(until):
		return tooLate()
	}
	if err := c.crowd.admit(c.next.Load(), answered); err != nil {
		return err
	}
	n := c.next.Add(1)
	if r.ID == "" {
		r.ID = c.own + "-" + strconv.FormatUint(n, 36)
	}
	r.Headers = plan.Passed(ctx, r.Headers)
	if err := checkLimits(r); err != nil {
		return err
	}
	p.request = *r
	switch {
	case answered:
		p.replyTo, p.until = c.mailbox.key, until
	case c.cfg.SendExpiry > 0:
		p.until = p.sent.Add(c.cfg.SendExpiry)
	}
	p.format = c.speech.request
	return p.encode(p.sent, false)
}

// trace begins the span of a request, which then carries it. It returns nil if ctx has no tracer.
func (c *Client) trace(ctx context.Context, kind flow.WorkKind, r *Request) flow.Span {
	t := flow.TracerOf(ctx)
	if t == nil {
		return nil
	}
	span := t.Begin(ctx, flow.Work{
		Kind: kind, Stream: c.Topic(),
		Meta: flow.Meta{MessageID: r.ID, Type: r.Type, Headers: plan.Passed(ctx, r.Headers)},
	})
	r.Headers = traces.Set(r.Headers, span.Headers())
	return span
}

// forget ends a call without a reply.
func (c *Client) forget(id string, p *pending) {
	c.calls.leave(id, p)
	c.out.Leave(p)
}

// cancel notifies the services that the caller no longer waits, if it can do so without blocking.
func (c *Client) cancel(id string) {
	if c.speech.keys.Control == "" {
		return
	}
	select {
	case c.notes <- note{kind: kindCancel, id: id}:
	default:
	}
}

// receive passes replies to their calls. It runs in the client's graph.
func (c *Client) receive(_ context.Context, chunk []flow.Message[Response]) error {
	size := 0
	for i := range chunk {
		size += len(chunk[i].Value.Body)
	}
	c.calls.receive(chunk)
	c.mailbox.seen(chunk[len(chunk)-1].ID())
	c.mailbox.took(size)
	return nil
}
