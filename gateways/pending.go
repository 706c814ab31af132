package gateways

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/outbox"
	"github.com/streamerson/streamerson-go/redisio"
)

// pending is a request to be written, and the call that waits for its reply or its parts.
type pending struct {
	outbox.Entry
	reply    Response // set before its call is told
	parts    *parts   // of a streamed reply
	answered bool     // the call has its reply: nothing but the outbox uses p

	request Request
	format  redisio.Format[Request]
	sent    time.Time
	until   time.Time // of a call with an answer
	replyTo string

	// Used again by other calls.
	spare  *sync.Pool     // of the client
	late   *time.Timer    // stopped; nil before it is needed
	fields redisio.Fields // backs Out.Fields
	buf    []byte         // backs the values
}

const (
	keptFields = 32
	keptBytes  = 4 << 10
)

// Release keeps p for another call if its own was answered. Others may still get a late reply.
func (p *pending) Release() {
	if !p.answered {
		return
	}
	for len(p.Ev) > 0 { // the write failed after all
		<-p.Ev
	}
	clear(p.fields)
	if cap(p.fields) > keptFields {
		p.fields = nil
	}
	if cap(p.buf) > keptBytes {
		p.buf = nil
	}
	*p = pending{Entry: outbox.Entry{Ev: p.Ev}, spare: p.spare, late: p.late, fields: p.fields, buf: p.buf}
	p.spare.Put(p)
}

// alarm returns a channel that receives at the end of a wait. p.late must be stopped after it.
func (p *pending) alarm(after time.Duration) <-chan time.Time {
	if p.late == nil {
		p.late = time.NewTimer(after)
	} else {
		p.late.Reset(after)
	}
	return p.late.C
}

// encode sets the fields of the entry.
func (p *pending) encode(now time.Time, again bool) (err error) {
	r := &p.request
	e := envelopes.Get().(*redisio.Envelope)
	defer envelopes.Put(e)
	*e = redisio.Envelope{ReplyTo: p.replyTo, MaybeDuplicate: again, Headers: e.Headers[:0]}
	if !p.until.IsZero() { // a duration, because the clocks of services may differ
		e.Limit = max(p.until.Sub(now), time.Millisecond)
	}
	size := len(r.Body) + len(r.Type) + len(r.ID) + len(r.Key) + len(r.ContentType) + len(p.replyTo) + 32 +
		sizeOf(r.Headers) + 8*len(r.Headers)
	fields, buf := slices.Grow(p.fields[:0], 6+len(r.Headers)), slices.Grow(p.buf[:0], size)
	if p.fields, p.buf, err = p.format.Encode(fields, buf, e, *r); err == nil {
		p.Out.Fields = p.fields
	}
	return err
}

// envelopes are reused, because formats take pointers to them.
var envelopes = sync.Pool{New: func() any { return new(redisio.Envelope) }}

// Rewrite marks the request as a possible copy.
func (p *pending) Rewrite() redisio.Fields {
	p.fields, p.buf = nil, nil
	_ = p.encode(time.Now(), true) // if it fails, the old fields stay
	return p.Out.Fields
}

// calls are the calls of a client that wait for their replies.
type calls struct {
	mu      sync.Mutex
	waiting map[string]*pending // by the ID of the request
	load    load
	closed  bool
	idle    chan struct{} // closed when the last call has ended after close; nil before

	chunk []*pending // owned by receive
	spare sync.Pool  // pendings of answered calls; not shared, so that synctest can be used
}

// pending returns an empty pending.
func (c *calls) pending() *pending {
	if p, is := c.spare.Get().(*pending); is {
		return p
	}
	return &pending{Entry: outbox.Entry{Ev: make(chan error, outbox.MostEvents)}, spare: &c.spare}
}

// enter adds a call before its request is sent, because the reply may arrive at once.
func (c *calls) enter(id string, p *pending, most int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return ErrClosed
	case len(c.waiting) >= most:
		return fmt.Errorf("%w: %d calls are waiting for replies", ErrOverloaded, most)
	case c.waiting[id] != nil:
		return fmt.Errorf("gateways: request ID %q is already in flight: leave the ID out", id)
	}
	if err := c.load.admit(p.sent, p.until); err != nil {
		return err
	}
	c.waiting[id] = p
	if p.parts == nil {
		c.load.calls++
	}
	return nil
}

// remove removes a call, unless it was answered and its ID is in use again. c.mu is held.
func (c *calls) remove(id string, p *pending) {
	if c.waiting[id] != p {
		return
	}
	delete(c.waiting, id)
	if p.parts == nil {
		c.load.calls--
	}
	if c.idle != nil && len(c.waiting) == 0 {
		close(c.idle)
		c.idle = nil
	}
}

// leave ends a call without a reply.
func (c *calls) leave(id string, p *pending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(id, p)
}

// receive passes replies to their calls.
func (c *calls) receive(chunk []flow.Message[Response]) {
	calls, now := c.chunk[:0], time.Now()
	c.mu.Lock()
	for i := range chunk {
		id := chunk[i].Meta().MessageID
		p := c.waiting[id]
		if p != nil && p.parts == nil {
			c.remove(id, p) // later replies are copies
			c.load.replied(now, now.Sub(p.sent), chunk[i].Value.wait)
		}
		calls = append(calls, p)
	}
	c.mu.Unlock()
	for i, p := range calls {
		switch {
		case p == nil: // of a call that has ended, or a copy
		case p.parts == nil:
			p.reply = chunk[i].Value
			p.Ev <- nil
		default:
			p.parts.put(chunk[i].Value)
		}
	}
	clear(calls)
	c.chunk = calls
}

// busy reports whether calls are waiting.
func (c *calls) busy() bool { return c.count() > 0 }

// count returns how many calls are waiting.
func (c *calls) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting)
}

// abandon fails all waiting calls. It passes each to left.
func (c *calls) abandon(err error, left func(*pending)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, p := range c.waiting {
		c.remove(id, p)
		left(p)
		if p.parts != nil {
			p.parts.fail(err)
			continue
		}
		p.Ev <- err
	}
}

// close lets no more calls enter. It returns false if it was closed before, else a channel that is
// closed when the last call has ended.
func (c *calls) close() (idle <-chan struct{}, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, false
	}
	c.closed, c.idle = true, make(chan struct{})
	ended := c.idle
	if len(c.waiting) == 0 {
		close(ended)
		c.idle = nil
	}
	return ended, true
}
