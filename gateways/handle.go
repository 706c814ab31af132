package gateways

import (
	"context"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
	"github.com/streamerson/streamerson-go/redisio"
)

// Handle registers a handler for a type of request. Values are JSON; strings and bytes are
// unchanged. An error is answered with the *RemoteError that it wraps, or else with CodeInternal.
// flow.RetryAfter redelivers the request later. If R is an Answer, it sets the status and headers
// for HTTP.
func Handle[Q, R any](s *Service, typ string, f func(context.Context, Q) (R, error)) {
	if f == nil {
		s.register(typ, handler{})
		return
	}
	request, answer := redisio.DefaultCodec[Q](), answerOf[R]()
	s.HandleFunc(typ, func(ctx context.Context, r *Request) (Response, error) {
		q, err := value(request, r)
		if err != nil {
			return Response{}, err
		}
		v, err := f(ctx, q)
		if err != nil {
			return Response{}, err
		}
		return answer(v)
	})
}

// HandleVoid registers a handler without a result. Its caller receives an empty answer or the
// error.
func HandleVoid[Q any](s *Service, typ string, f func(context.Context, Q) error) {
	if f == nil {
		s.register(typ, handler{})
		return
	}
	Handle(s, typ, func(ctx context.Context, q Q) ([]byte, error) { return nil, f(ctx, q) })
}

// HandleStream registers a handler that answers with many values. Each send sends one, and blocks
// while the reader is slow. The answer ends when f returns, with its error if there is one. If the
// reader stops early, f's context is cancelled.
//
// A streamed answer does not restart when the process dies: the reader receives ErrInterrupted.
func HandleStream[Q, R any](s *Service, typ string, f func(ctx context.Context, q Q, send func(R) error) error) {
	if f == nil {
		s.register(typ, handler{})
		return
	}
	request, part := redisio.DefaultCodec[Q](), redisio.DefaultCodec[R]()
	s.register(typ, handler{stream: func(ctx context.Context, r *Request, send func(Response) error) error {
		q, err := value(request, r)
		if err != nil {
			return err
		}
		return f(ctx, q, func(v R) error {
			p, err := encoded(part, v)
			if err != nil {
				return err
			}
			return send(p)
		})
	}})
}

func value[Q any](codec redisio.Codec[Q], r *Request) (Q, error) {
	q, err := wire.DecodeBody(codec, r.Body, r.ContentType)
	if err != nil {
		return q, &RequestError{Type: r.Type, Err: err}
	}
	return q, nil
}

func encoded[R any](codec redisio.Codec[R], v R) (Response, error) {
	body, err := codec.Append(nil, v)
	return Response{Body: body, ContentType: codec.ContentType()}, err
}

// Answer is the result of a typed handler that sets the HTTP status or headers as well:
//
//	gateways.Handle(svc, "addBook", func(ctx context.Context, q AddBook) (gateways.Answer[Book], error) {
//		…
//		location := flow.Headers{{Name: "Location", Value: "/books/" + b.ID}}
//		return gateways.Answer[Book]{Status: http.StatusCreated, Headers: location, Value: b}, nil
//	})
//
// Callers of Call receive only the Value. With Status 204, 205 or 304 there is no body.
type Answer[R any] struct {
	Status  int // 0 lets the gateway choose
	Headers flow.Headers
	Value   R
}

// answering is implemented by Answers of all types.
type answering interface{ response() (Response, error) }

func (a Answer[R]) response() (Response, error) {
	if a.Status != 0 && wire.Bodiless(a.Status) {
		return Response{Status: a.Status, Headers: a.Headers}, nil
	}
	r, err := encoded(redisio.DefaultCodec[R](), a.Value)
	r.Status, r.Headers = a.Status, a.Headers
	return r, err
}

// answerOf returns a function that encodes a handler's results.
func answerOf[R any]() func(R) (Response, error) {
	if _, is := any(*new(R)).(answering); is {
		return func(v R) (Response, error) { return any(v).(answering).response() }
	}
	codec := redisio.DefaultCodec[R]()
	return func(v R) (Response, error) { return encoded(codec, v) }
}
