package gateways

import (
	"context"
	"encoding/json"

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
	q, err := decodeBody(codec, r.Body, r.ContentType)
	if err != nil {
		return q, &RequestError{Type: r.Type, Err: err}
	}
	return q, nil
}

// decodeBody decodes a body. A text codec unquotes a JSON string, so that programs that send
// everything as JSON can send text.
func decodeBody[T any](codec redisio.Codec[T], body []byte, contentType string) (v T, err error) {
	if len(body) > 0 && body[0] == '"' && isJSON(contentType) && codec.ContentType() == "text/plain" {
		var text string
		if err := json.Unmarshal(body, &text); err != nil {
			return v, err
		}
		body = []byte(text)
	}
	return codec.Decode(body)
}

func encoded[R any](codec redisio.Codec[R], v R) (Response, error) {
	body, err := codec.Append(nil, v)
	return Response{Body: body, ContentType: codec.ContentType()}, err
}
