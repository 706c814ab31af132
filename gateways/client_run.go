package gateways

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/outbox"
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
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
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
	if c.topic.Control != "" {
		notes := source.Chan(c.notes, flow.Name("notes"))
		parts = append(
			parts,
			flow.To(
				notes,
				sink.Stream(
					c.rdb,
					sink.StreamConfig[note]{Key: c.topic.Control, Format: noteFormat{}, MaxLen: controlLen,
						Wait: forever},
					flow.Name("control"),
				),
			),
		)
	}
	return flow.New("client of "+c.topic.Requests, parts...)
}

// maintain observes the stream of requests and trims settled ones.
func (c *Client) maintain(ctx context.Context, now time.Time) error {
	sent := c.next.Load()
	err := c.crowd.look(ctx, now, sent, c.busy())
	if c.crowd.nobody() {
		c.abandon(fmt.Errorf("%w: start one for %q, or check the topic", ErrNoService, c.topic.Requests))
	}
	more := sent != c.trimmed && (!c.busy() || int64(sent-c.trimmed) >= c.cfg.MaxLen/10)
	if !more && !(c.behind && now.Sub(c.tidied) >= time.Second) {
		return err
	}
	c.trimmed, c.tidied = sent, now
	groups, infoErr := c.rdb.XInfoGroups(ctx, c.topic.Requests).Result()
	if infoErr != nil || len(groups) == 0 { // without a group, all entries would count as settled
		c.behind = true
		return err
	}
	_, trimErr := admin.Trim(ctx, c.rdb, c.topic.Requests, admin.TrimOptions{MaxLen: c.cfg.MaxLen})
	if trimErr == nil {
		c.refused.Worked()
	}
	if redisio.IsPermanent(c.refused.Look(trimErr)) { // other errors are temporary
		c.behind = false
		if !c.told {
			c.told = true
			return errors.Join(err, trimErr)
		}
		return err
	}
	n, lenErr := c.rdb.XLen(ctx, c.topic.Requests).Result()
	c.behind = errors.Join(trimErr, lenErr) != nil ||
		n > c.cfg.MaxLen+c.cfg.MaxLen/10+100 // trimming removes whole nodes of the stream
	return err
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
	c.mu.Lock()
	was := c.closed
	c.closed = true
	idle := make(chan struct{})
	if len(c.waiting) == 0 {
		close(idle)
	} else if !was {
		c.idle = idle
	}
	c.mu.Unlock()
	if was || c.err != nil {
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

// abandon fails all waiting calls.
func (c *Client) abandon(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, p := range c.waiting {
		c.leave(id, p)
		c.crowd.Leave(c.out.ID(&p.Entry))
		if p.parts != nil {
			p.parts.fail(err)
			continue
		}
		p.Ev <- outbox.Event{Kind: outbox.Wrote, Err: err}
	}
}

// busy reports whether calls are waiting.
func (c *Client) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting) > 0
}
