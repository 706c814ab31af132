package durable

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/transcript"
)

// Writer writes the values of a durable reply. A handler receives it. Only one goroutine at a time
// may use it.
type Writer[T any] struct {
	r     *Replies
	a     *attempt
	claim transcript.Claim
	codec redisio.Codec[T]
	fresh bool // what an earlier attempt has written is void, unless Resume is called first

	drains  <-chan struct{} // closed when the service drains
	resumes atomic.Bool     // Resume was called: another process can continue
}

// ID returns the ID of the reply.
func (w *Writer[T]) ID() string { return w.a.id }

// Attempt returns the number of this attempt, starting at 1.
func (w *Writer[T]) Attempt() int { return int(w.claim.Attempt) }

// Resume continues the reply after the values of earlier attempts, and returns their number. It is
// 0 in the first attempt. A handler that sends the same values each time skips so many:
//
//	for _, word := range words[w.Resume():] { … }
//
// Without Resume the first Send of a later attempt voids all values before it. When the service
// drains, the context of a handler that has called Resume is cancelled at once with the cause
// ErrDraining, and another process continues the reply.
func (w *Writer[T]) Resume() int {
	w.fresh = false
	w.resumes.Store(true)
	select {
	case <-w.drains:
		w.a.cancel(ErrDraining)
	default:
	}
	return int(w.claim.Values)
}

// Last returns the last value of earlier attempts. ok is false if there is no such value.
func (w *Writer[T]) Last() (v T, ok bool, err error) {
	if w.claim.Last == nil {
		return v, false, nil
	}
	v, err = wire.DecodeBody(w.codec, w.claim.Last, w.codec.ContentType())
	return v, err == nil, err
}

// Send appends values to the reply. All followers receive them. While Redis is unavailable, Send
// waits until ctx is done. Then the values may have been written or not. A Send of the same values
// continues: none is written twice. It returns *TooLargeError for a value beyond
// Config.MaxPart. It returns ErrStopped, ErrFenced, ErrEnded or ErrUnknown if the reply is no
// longer this writer's; then the handler should return.
func (w *Writer[T]) Send(ctx context.Context, values ...T) error {
	ops := make([]transcript.Op, 0, len(values)+1)
	if w.fresh {
		ops = append(ops, transcript.Reset())
	}
	for _, v := range values {
		data, err := w.codec.Append(nil, v)
		if err != nil {
			return err
		}
		ops = append(ops, transcript.Value(data))
	}
	if len(values) == 0 {
		return nil
	}
	return w.append(ctx, ops...)
}

// Reset voids all values that were sent. Followers receive an Item with Reset.
func (w *Writer[T]) Reset(ctx context.Context) error { return w.append(ctx, transcript.Reset()) }

func (w *Writer[T]) append(ctx context.Context, ops ...transcript.Op) error {
	err := w.r.store.Append(ctx, w.a.id, &w.claim, ops...)
	if cause := causeOf(err); cause != nil {
		w.a.cancel(cause)
		return cause
	}
	if err == nil {
		w.fresh = false
	}
	return err
}

// Handle registers a handler of a service, and makes its replies durable. Start the reply with
// [Start].
//
// When f returns nil, the reply is done. When f returns an error, the reply has failed with the
// *gateways.RemoteError that it wraps, or else with gateways.CodeInternal. flow.RetryAfter leaves
// the reply open and calls f again later, as another attempt. If the process dies or drains,
// another process makes the next attempt. ServiceConfig.Timeout does not apply.
func Handle[Q, T any](
	svc *gateways.Service,
	r *Replies,
	typ string,
	f func(ctx context.Context, q Q, w *Writer[T]) error,
) {
	if f == nil {
		svc.HandleLong(typ, nil)
		return
	}
	request, values := redisio.DefaultCodec[Q](), redisio.DefaultCodec[T]()
	svc.HandleLong(typ, func(ctx context.Context, q *gateways.Request) (answer gateways.Response, err error) {
		id, _ := q.Headers.Get(headerID)
		if id == "" {
			return answer, gateways.Errorf(gateways.CodeInvalid, "replies to %q are durable: use durable.Start", typ)
		}
		if r.err != nil {
			return answer, r.err
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		w := &Writer[T]{r: r, a: &attempt{id: id, cancel: cancel, over: make(chan struct{})}, codec: values}
		return answer, w.handle(ctx, func() error {
			v, err := wire.DecodeBody(request, q.Body, q.ContentType)
			if err != nil {
				return &gateways.RequestError{Type: typ, Err: err}
			}
			return f(ctx, v, w)
		})
	})
}

// handle makes an attempt.
func (w *Writer[T]) handle(ctx context.Context, f func() error) error {
	err := w.r.join(ctx, w.a)
	if err != nil {
		return err
	}
	defer w.r.part(w.a)
	w.claim, err = w.r.store.Claim(ctx, w.a.id, w.codec.ContentType())
	if errors.Is(err, transcript.ErrExhausted) {
		w.r.cfg.Log.Error("durable: reply failed after too many attempts", "id", w.a.id)
		return nil
	}
	if cause := causeOf(err); cause != nil {
		w.r.cfg.Log.Info("durable: reply is not written", "id", w.a.id, "cause", cause)
		return nil
	}
	if err != nil {
		return err
	}
	w.r.begun(w.a, w.claim)
	w.fresh = w.claim.Next > 1
	w.drains = flow.DrainStarted(ctx)
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-w.drains:
			if w.resumes.Load() {
				w.a.cancel(ErrDraining)
			}
		case <-over:
		}
	})
	err = caught(f)
	close(over)
	watching.Wait()
	return w.conclude(ctx, err)
}

func caught(f func() error) (err error) {
	defer flow.Catch(&err)
	return f()
}

// conclude ends the reply after the handler, or leaves it to the next attempt by returning an error.
func (w *Writer[T]) conclude(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	verdict, is := flow.Verdict(err)
	switch {
	case errors.Is(cause, ErrStopped), errors.Is(cause, ErrEnded), errors.Is(cause, ErrUnknown),
		errors.Is(cause, ErrFenced):
		return nil
	case errors.Is(cause, transcript.ErrBehind):
		return flow.RetryAfter(renewEvery, cause)
	case errors.Is(cause, ErrDraining) && err != nil:
		return flow.RetryAfter(handOver, cause)
	case errors.Is(cause, ErrDraining): // it was done nevertheless
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		return w.end(ctx, nil)
	case ctx.Err() != nil: // the service drains, or has lost the request: another process continues
		return errors.Join(cause, err)
	case is && verdict.Do == flow.ActNack:
		return err
	}
	return w.end(ctx, err)
}

// handOver is the delay after which another process continues the reply of a draining one.
const handOver = 50 * time.Millisecond

// end ends the reply with the result of its handler.
func (w *Writer[T]) end(ctx context.Context, err error) error {
	end := transcript.End{State: Done}
	if verdict, is := flow.Verdict(err); err != nil && !(is && verdict.Do == flow.ActDrop) {
		end = failure(err)
		if end.Code == string(gateways.CodeInternal) {
			w.r.cfg.Log.Error("durable: handler failed", "id", w.a.id, "error", err)
		}
	}
	ops := []transcript.Op{transcript.Ending(end)}
	if w.fresh && err == nil { // this attempt has no values, and those before it are void
		ops = append([]transcript.Op{transcript.Reset()}, ops...)
	}
	if err := w.append(ctx, ops...); !isCause(err) {
		return err
	}
	return nil
}

// isCause reports whether append has returned the cause of a cancellation.
func isCause(err error) bool {
	return errors.Is(err, ErrStopped) || errors.Is(err, ErrEnded) || errors.Is(err, ErrFenced) ||
		errors.Is(err, ErrUnknown)
}

const mostReason = 4 << 10 // bytes of the message of a failed reply

// failure returns the end of a reply after its handler has failed. Followers are told as little of
// other errors as callers of a service.
func failure(err error) transcript.End {
	end := transcript.End{State: Failed}
	var said *gateways.RemoteError
	var decode *gateways.RequestError
	var large *TooLargeError
	switch {
	case errors.As(err, &said):
		end.Code, end.Message = string(said.Code), said.Message
	case errors.As(err, &decode):
		end.Code, end.Message = string(gateways.CodeInvalid), decode.Error()
	case errors.As(err, &large):
		end.Code, end.Message = string(gateways.CodeReplyTooLarge), large.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, gateways.ErrTimeout):
		end.Code, end.Message = string(gateways.CodeTimeout), "handler timed out"
	default:
		end.Code, end.Message = string(gateways.CodeInternal), "handler failed: see the service's log"
	}
	end.Message = strings.ToValidUTF8(end.Message[:min(len(end.Message), mostReason)], "")
	return end
}
