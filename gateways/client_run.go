package gateways

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// connect creates the stream of replies and starts the client's graph, unless they exist. It runs
// in the loop of the outbox.
func (c *Client) connect(ctx context.Context) error {
	if run := c.running.Load(); run != nil && run.State() != flow.Ended {
		return nil
	}
	if err := c.mailbox.make(ctx); err != nil {
		return err
	}
	c.calls.mu.Lock() // so that Close sees the graph
	defer c.calls.mu.Unlock()
	if c.calls.closed {
		return ErrClosed
	}
	run, err := c.graph().Start(ctx)
	if err != nil {
		return err
	}
	c.running.Store(run)
	return nil
}

// graph returns the client's graph: it reads replies, maintains their stream, and writes control
// messages.
func (c *Client) graph() *flow.Graph {
	replies := source.Tail(
		c.rdb,
		source.TailConfig[Response]{Key: c.mailbox.key, Start: c.mailbox.start(), Format: c.speech.reply,
			Wait: forever},
		flow.Name("replies"),
		flow.Traits{Inline: true},
	)
	parts := []flow.Part{
		flow.To(
			replies,
			flow.NewSink("calls", func() flow.Writer[Response] { return flow.WriterFunc[Response](c.receive) }),
		),
		flow.Task("requests", flow.Every(maintainEvery, c.maintain)),
		flow.Log(c.cfg.Log),
	}
	if c.speech.shared == "" {
		parts = append(parts, flow.Task("mailbox", c.mailbox.maintain))
	}
	if c.speech.keys.Control != "" {
		notes := source.Chan(c.notes, flow.Name("notes"))
		parts = append(
			parts,
			flow.To(
				notes,
				sink.Stream(
					c.rdb,
					sink.StreamConfig[note]{Key: c.speech.keys.Control, Format: nativeNotes, MaxLen: controlLen,
						Wait: forever},
					flow.Name("control"),
				),
			),
		)
	}
	return flow.New("client of "+c.speech.keys.Requests, parts...)
}

// maintain observes the stream of requests and trims settled ones.
func (c *Client) maintain(ctx context.Context, now time.Time) error {
	sent, busy := c.next.Load(), c.calls.busy()
	err := c.crowd.look(ctx, now, sent, busy)
	if c.crowd.nobody() {
		c.abandon(c.crowd.noService())
	}
	return errors.Join(err, c.trimmer.trim(ctx, now, sent, busy))
}

// abandon fails all waiting calls.
func (c *Client) abandon(err error) {
	c.calls.abandon(err, func(p *pending) { c.crowd.Leave(c.out.ID(&p.Entry)) })
}

// trimmer trims settled requests, apart from those that services delete. Owned by maintain.
type trimmer struct {
	rdb  redis.UniversalClient
	key  string
	most int64 // settled requests that stay

	sent    uint64           // requests sent at the last trimming
	at      time.Time        // time of the last trimming
	behind  bool             // the last trimming left too many, because they are not settled
	told    bool             // a failed trimming has been logged
	refused redisio.Patience // of trimming
}

// trim trims if it is time to. sent is how many requests this client has sent.
func (t *trimmer) trim(ctx context.Context, now time.Time, sent uint64, busy bool) error {
	more := sent != t.sent && (!busy || int64(sent-t.sent) >= t.most/10)
	if !more && !(t.behind && now.Sub(t.at) >= time.Second) {
		return nil
	}
	t.sent, t.at = sent, now
	groups, err := t.rdb.XInfoGroups(ctx, t.key).Result()
	if t.behind = true; err != nil || len(groups) == 0 { // without a group, all entries would count as settled
		return nil
	}
	_, err = admin.Trim(ctx, t.rdb, t.key, admin.TrimOptions{MaxLen: t.most})
	if err == nil {
		t.refused.Worked()
	}
	if redisio.IsPermanent(t.refused.Look(err)) { // other errors are temporary
		if t.behind = false; t.told {
			return nil
		}
		t.told = true
		return err
	}
	n, lenErr := t.rdb.XLen(ctx, t.key).Result()
	t.behind = errors.Join(err, lenErr) != nil || n > t.most+t.most/10+100 // whole nodes of the stream are trimmed
	return nil
}

const (
	maintainEvery = 100 * time.Millisecond
	// forever is how long a running client or service waits for Redis: callers have their own
	// deadlines.
	forever = 100 * 365 * 24 * time.Hour
	// controlLen is how many control messages are kept. They matter only briefly.
	controlLen = 10_000
)

// Close closes the client. New calls fail with ErrClosed. Running calls may end until ctx is done,
// and fail then. The stream of replies is deleted. The Redis client stays open.
func (c *Client) Close(ctx context.Context) error {
	idle, first := c.calls.close()
	if !first || c.err != nil {
		return c.err
	}
	select {
	case <-idle:
	case <-ctx.Done():
		c.abandon(ErrClosed)
		<-idle
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := c.out.Close(clean)
	run := c.running.Load()
	if run == nil {
		return err
	}
	_, drainErr := run.Drain(context.WithoutCancel(ctx)) // at most the graph's DrainTimeout
	clean, cancel = context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, drainErr, c.mailbox.remove(clean))
}
