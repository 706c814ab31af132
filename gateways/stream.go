package gateways

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/outbox"
	"github.com/streamerson/streamerson-go/redisio"
)

// streamHandler answers with many parts. send blocks while the reader is slow.
type streamHandler func(ctx context.Context, r *Request, send func(Response) error) error

// credits holds a token for each part that may be sent.
type credits chan struct{}

func newCredits(n int) credits {
	c := make(credits, maxWindow)
	c.add(n)
	return c
}

func (c credits) add(n int) {
	for range n {
		select {
		case c <- struct{}{}:
		default:
			return
		}
	}
}

func (c credits) take(ctx context.Context) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// lookEvery is how often a handler that waits for its reader checks that the reader still exists.
const lookEvery = 10 * time.Second

// streamed returns a Handler that answers with parts. A unary handler's answer becomes the only
// part. The Handler's Response is the end of the stream.
//
// Parts are numbered, and all copies of a request answer with the same ID. So each handling has a
// name, and the reader accepts parts of the first handling only. A handling that starts after
// another process has died does not know which parts the reader has, and answers with
// CodeInterrupted.
func (s *Service) streamed(h handler, meta flow.Meta, state *handling) Handler {
	return func(ctx context.Context, r *Request) (Response, error) {
		switch {
		case r.window == 0:
			return Response{}, Errorf(
				CodeInvalid,
				"type %q has streamed replies: use Stream",
				r.Type,
			)
		case meta.Attempt > 1:
			return Response{}, &RemoteError{Code: CodeInterrupted, Message: "the replying process is gone"}
		}
		s.parts.Hold()
		defer func() { _ = s.parts.Release(ctx) }() // the writes have been confirmed, part by part
		run, seq := rand.Text()[:12], 0
		send := func(part Response) error {
			if err := s.credit(ctx, meta.ReplyTo, state.credits); err != nil {
				return err
			}
			if err := checkReply(&part, s.cfg.MaxReply); err != nil {
				return err
			}
			part.kind, part.run, part.seq = kindPart, run, seq+1
			fields, _, err := nativeReplies.Encode(nil, nil, &redisio.Envelope{ID: r.ID}, part)
			if err != nil {
				return err
			}
			err = s.parts.Write(ctx, &outbox.Entry{Out: redisio.Outgoing{Key: meta.ReplyTo, Fields: fields}})
			if errors.Is(err, redisio.ErrNoStream) {
				state.cancel(errCancelled)
				return errCancelled
			}
			if err == nil {
				seq++
			}
			return err
		}
		var err error
		if h.stream != nil {
			err = h.stream(ctx, r, send)
		} else {
			var only Response
			if only, err = h.unary(ctx, r); err == nil {
				err = send(only)
			}
		}
		return Response{kind: kindEnd, run: run, seq: seq + 1}, err
	}
}

// credit waits until a part may be sent.
func (s *Service) credit(ctx context.Context, mailbox string, c credits) error {
	for {
		waits, cancel := context.WithTimeout(ctx, lookEvery)
		err := c.take(waits)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if n, err := s.rdb.Exists(ctx, mailbox).Result(); err == nil && n == 0 {
			return fmt.Errorf("%w: its mailbox %s is gone", errCancelled, strconv.Quote(mailbox))
		}
	}
}

// parts queues a streamed reply for its reader. The window limits how many parts it holds.
type parts struct {
	window int
	news   chan struct{} // holds a token when something has changed

	mu   sync.Mutex
	have []Response
	run  string // the handling that sends the parts; "" before the first
	next int    // number of the next part; the first is 1
	err  error  // why there will be no more
	over bool   // the end has arrived
}

func newParts(window int) *parts {
	return &parts{window: window, news: make(chan struct{}, 1), next: 1}
}

// put takes a part from the mailbox. It never blocks.
func (p *parts) put(r Response) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.over || p.err != nil || r.kind == kindPart && r.seq < p.next ||
		p.run != "" && r.run != "" && r.run != p.run: // a copy
		return
	case r.kind == kindError:
		p.err = r.Failure()
	case r.kind == kindEnd && r.seq == p.next:
		p.over = true
	case r.kind == kindPart && r.seq == p.next && len(p.have) < 2*p.window:
		p.run = r.run
		p.have = append(p.have, r)
		p.next++
	default:
		p.err = fmt.Errorf("%w: received part %d instead of part %d", ErrInterrupted, r.seq, p.next)
	}
	p.tell()
}

func (p *parts) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil && !p.over {
		p.err = err
	}
	p.tell()
}

func (p *parts) tell() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// take returns the parts received so far, and how the reply ended if it has.
func (p *parts) take() (have []Response, over bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	have, p.have = p.have, nil
	return have, p.over || p.err != nil, p.err
}
