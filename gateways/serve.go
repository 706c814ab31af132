package gateways

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// errCancelled is the cause when the caller no longer waits.
var errCancelled = errors.New("gateways: the caller no longer waits")

// Serve handles one request. It runs in many goroutines concurrently.
func (s *Service) Serve(
	ctx context.Context,
	m flow.Message[Request],
) (out flow.Message[Response], emits bool, _ error) {
	meta, now := m.Meta(), time.Now()
	if !meta.Deadline.IsZero() && !now.Before(meta.Deadline) {
		s.stats.expired.Add(1)
		s.expiry.tell(ctx, &s.stats, s.topic.Requests)
		return out, false, nil
	}
	if err := checkAddress(meta.ReplyTo, s.allowed); err != nil {
		return out, false, err
	}
	if m.Value.bad != nil {
		return s.unread(ctx, m)
	}
	if s.foreign(&m.Value) {
		return out, false, nil
	}
	known, found := s.handlers[m.Value.Type]
	if !found {
		if handed, err := s.handOn(ctx, &m.Value, meta); handed || err != nil {
			return out, false, err
		}
	}
	h := newHandling(ctx, s.deadline(now, meta.Deadline, m.Value.window > 0 || known.long))
	h.request, h.headers, h.began = m.Value, m.Value.Headers, now
	r := &h.request
	if r.window > 0 {
		h.credits = newCredits(r.window)
	}
	wanted := meta.ReplyTo != ""
	if wanted {
		switch is, kept := s.ledger.begin(r.ID, h, meta.MaybeDuplicate || meta.Attempt > 1); is {
		case answered:
			return s.emit(m, *kept)
		case cancelled:
			s.stats.cancelled.Add(1)
			return out, false, nil
		case underWay:
			return out, false, nil
		}
	}
	answer, err := s.answer(r, meta, h)
	err, replies := s.conclude(ctx, r, h, &answer, err, wanted)
	switch {
	case replies:
		fit(ctx, r.Type, r.ID, &answer, s.cfg.MaxReply)
		s.ledger.end(m.Value.ID, &answer)
		return s.emit(m, answer)
	case wanted:
		s.ledger.end(m.Value.ID, nil)
	}
	return out, false, err
}

// unread handles an unreadable request. Its caller receives an error. Without a caller the request
// is rejected.
func (s *Service) unread(
	ctx context.Context,
	m flow.Message[Request],
) (out flow.Message[Response], emits bool, _ error) {
	if m.Meta().ReplyTo == "" {
		return out, false, flow.Reject(m.Value.bad)
	}
	s.stats.failed.Add(1)
	flow.NoteError(ctx, m.Value.bad)
	answer := failureOf(&RemoteError{Code: CodeInvalid, Message: m.Value.bad.Error()})
	fit(ctx, "", m.Value.ID, &answer, s.cfg.MaxReply)
	return s.emit(m, answer)
}

// conclude ends a handling. It returns an answer (possibly a failure), an error for the fault
// policy, or neither.
func (s *Service) conclude(
	ctx context.Context,
	r *Request,
	h *handling,
	answer *Response,
	err error,
	wanted bool,
) (_ error, replies bool) {
	why := h.end()
	switch v, is := flow.Verdict(err); {
	case err == nil || is && v.Do == flow.ActDrop:
		s.stats.answered.Add(1)
		s.stats.took.add(time.Since(h.began))
	case errors.Is(why, errCancelled):
		s.stats.cancelled.Add(1)
		return nil, false
	case ctx.Err() != nil, // the graph stops, or has lost the entry: another process will answer
		is && v.Do == flow.ActNack, // the handler asks for redelivery
		!wanted:                    // the fault policy applies if no caller waits
		if decode := (*RequestError)(nil); errors.As(err, &decode) { // a retry can't make it readable
			err = flow.Reject(err)
		}
		return err, false
	default:
		s.stats.failed.Add(1)
		s.stats.took.add(time.Since(h.began))
		flow.NoteError(ctx, err)
		*answer = s.failed(ctx, r, err)
	}
	return nil, wanted
}

// failed returns the answer to a failed request. It logs what the caller is not told.
func (s *Service) failed(ctx context.Context, r *Request, err error) Response {
	said := remote(err)
	if said.Code == CodeInternal {
		attrs := []any{"type", r.Type, "id", r.ID, "error", err}
		var panicked *flow.PanicError
		if errors.As(err, &panicked) {
			attrs = append(attrs, "stack", string(panicked.Stack))
		}
		flow.Logger(ctx).Error("service: handler failed", attrs...)
	}
	return failureOf(said)
}

// answer calls the handler.
func (s *Service) answer(r *Request, meta flow.Meta, h *handling) (answer Response, err error) {
	defer flow.Catch(&err)
	known, found := s.handlers[r.Type]
	if !found {
		return answer, Errorf(CodeNoHandler, "no handler for requests of type %q", r.Type)
	}
	do := known.unary
	if known.stream != nil || r.window > 0 {
		do = s.streamed(known, meta, h)
	}
	for i := len(s.wrap) - 1; i >= 0; i-- {
		do = s.wrap[i](do)
	}
	answer, err = do(h, r)
	if answer.kind == "" {
		answer.kind = kindReply
	}
	return answer, err
}

func (s *Service) emit(m flow.Message[Request], answer Response) (flow.Message[Response], bool, error) {
	answer.wait = waited(&m.Value, m.Meta())
	return flow.Derive(m, answer), true, nil
}

// deadline returns the earlier of the caller's and the service's deadline; zero means no deadline.
func (s *Service) deadline(now, caller time.Time, long bool) time.Time {
	until := caller
	if s.cfg.Timeout > 0 && !long {
		if own := now.Add(s.cfg.Timeout); until.IsZero() || own.Before(until) {
			until = own
		}
	}
	return until
}

// applyControl applies a control message of a client.
func (s *Service) applyControl(_ context.Context, n note) error {
	switch n.kind {
	case kindCancel:
		if h := s.ledger.cancel(n.id); h != nil {
			h.cancel(errCancelled)
		}
	case kindMore:
		if h := s.ledger.running(n.id); h != nil && h.credits != nil {
			h.credits.add(n.more)
		}
	}
	return nil
}

// ServiceStats has the numbers of requests by outcome, since the service was created.
type ServiceStats struct {
	Answered  uint64 // by a handler's value, or handled without a waiting caller
	Failed    uint64 // answered with an error
	Expired   uint64 // not started, because their deadline had passed
	Cancelled uint64 // by their callers, before or during handling
	HandedOn  uint64 // to other processes, because this one does not handle their type
	// Dropped is the number of replies, and parts of streamed ones, that were dropped because a
	// client's mailbox exceeded MailboxBytes.
	Dropped uint64
	// Took is how long the handlers of answered and failed requests took. The time in the queue is
	// not part of it.
	Took Latency
}

type serviceCounters struct {
	answered, failed, expired, cancelled, handedOn, dropped atomic.Uint64

	took latencyCounter
}

// Stats returns the counts.
func (s *Service) Stats() ServiceStats {
	c := &s.stats
	return ServiceStats{
		Answered:  c.answered.Load(),
		Failed:    c.failed.Load(),
		Expired:   c.expired.Load(),
		Cancelled: c.cancelled.Load(),
		HandedOn:  c.handedOn.Load(),
		Dropped:   c.dropped.Load(),
		Took:      c.took.read(),
	}
}

const (
	expirySpan  = 10 * time.Second
	expiryFew   = 10 // fewer expired requests in a span are not reported
	expiryQuiet = time.Minute
)

// expiry warns if a service skips many requests because they expired.
type expiry struct {
	mu      sync.Mutex
	began   time.Time // of the span
	expired uint64    // in this span
	handled uint64    // at its beginning
	told    time.Time
}

// tell records an expired request, and warns if at least half of the requests in the span expired.
func (e *expiry) tell(ctx context.Context, stats *serviceCounters, key string) {
	now, handled := time.Now(), stats.answered.Load()+stats.failed.Load()
	e.mu.Lock()
	defer e.mu.Unlock()
	if now.Sub(e.began) >= expirySpan {
		e.began, e.expired, e.handled = now, 0, handled
	}
	e.expired++
	if e.expired < expiryFew || e.expired < handled-e.handled || now.Sub(e.told) < expiryQuiet {
		return
	}
	e.told = now
	flow.Logger(ctx).
		Warn("service: many requests expired before handling: add processes or raise timeouts",
			"key", key, "expired", e.expired, "handled", handled-e.handled, "within", now.Sub(e.began))
}
