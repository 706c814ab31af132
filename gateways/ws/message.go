package ws

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/sink"
)

// Message is sent to the sockets of a Target.
type Message[T any] struct {
	To    Target
	From  string // the sending user; "" if the application sends it
	Type  string
	Value T
}

// defaultOutbound is how many entries the log keeps by default.
const defaultOutbound = 100_000

// Outbound sends messages to the sockets of a hub, on all processes. It is a sink.Stream with all
// its guarantees: a message is settled when it is in the hub's log, and messages are logged in the
// order in which they arrive. Each process reads the log once and delivers to its own sockets. A
// client that reconnects receives from the log what it missed.
//
// The configuration is that of the stream. Key, KeyFor, Codec and Format belong to the hub and must
// stay empty. Values are encoded as JSON. MaxLen, by default 100,000, is how many messages the log
// keeps for reconnecting clients; a client that missed more receives a gap. MaxBytes limits the
// memory of the log in Redis in the same way. Defaults to 64 MiB. Negative disables the limit.
func Outbound[T any](
	rdb redis.UniversalClient,
	hub string,
	cfg sink.StreamConfig[Message[T]],
	opts ...flow.StageOption,
) flow.Sink[Message[T]] {
	wrong := endpoint("Outbound", hub, cfg.Key != "" || cfg.KeyFor != nil || cfg.Codec != nil || cfg.Format != nil)
	cfg.Key, cfg.KeyFor, cfg.Codec, cfg.Format = keysOf(hub).out, nil, nil, messageFormat[T]{redisio.JSON[T]()}
	if cfg.MaxLen == 0 && cfg.MaxAge == 0 && cfg.MinID == "" {
		cfg.MaxLen = defaultOutbound
	}
	cfg.DropUnread = true // the log has no consumer groups to wait for
	switch {
	case cfg.MaxBytes == 0:
		cfg.MaxBytes = defaultBytes
	case cfg.MaxBytes < 0:
		cfg.MaxBytes = 0
	}
	return sink.Stream(rdb, cfg, append([]flow.StageOption{flow.Name("outbound"), wrong}, opts...)...)
}

// headerFrom names the sender of a message.
const headerFrom = "from"

// messageFormat writes messages as native entries: data, type, key (the target), h:from.
type messageFormat[T any] struct{ codec redisio.Codec[T] }

func (f messageFormat[T]) Encode(
	dst redisio.Fields,
	buf []byte,
	e *redisio.Envelope,
	v Message[T],
) (redisio.Fields, []byte, error) {
	if err := v.To.check(); err != nil {
		return dst, buf, err
	}
	*e = redisio.Envelope{
		ID:             e.ID,
		Type:           v.Type,
		Key:            string(v.To),
		Traceparent:    e.Traceparent,
		Tracestate:     e.Tracestate,
		Baggage:        e.Baggage,
		MaybeDuplicate: e.MaybeDuplicate,
		Headers:        e.Headers[:0],
	}
	if v.From != "" {
		e.Headers = append(e.Headers, redisio.Header{Name: headerFrom, Value: v.From})
	}
	return redisio.Native(f.codec).Encode(dst, buf, e, v.Value)
}

func (f messageFormat[T]) Decode(entry *redisio.Entry, e *redisio.Envelope) (v Message[T], err error) {
	v.Value, err = redisio.Native(f.codec).Decode(entry, e)
	if err != nil {
		return v, err
	}
	v.To, v.Type = Target(e.Key), e.Type
	for _, h := range e.Headers {
		if h.Name == headerFrom {
			v.From = h.Value
		}
	}
	if err := v.To.check(); err != nil {
		return v, &redisio.DecodeError{ID: entry.ID, Field: "key", Err: err}
	}
	return v, nil
}

// delivery is a decoded entry of the log. Its frame is encoded once per process and shared by all
// sockets.
type delivery struct {
	frame []byte
	order *order // set instead of frame
}

// outbound reads the hub's log. It checks values, because invalid JSON would break the frame around
// it.
var outbound = messageFormat[rawMessage]{rawJSON{}}

type rawMessage = json.RawMessage

// rawJSON is a codec that keeps JSON as it is.
type rawJSON struct{}

func (rawJSON) ContentType() string { return "application/json" }
func (rawJSON) Append(dst []byte, v json.RawMessage) ([]byte, error) {
	return append(dst, v...), nil
}
func (rawJSON) Decode(src []byte) (json.RawMessage, error) {
	if !json.Valid(src) {
		return nil, errors.New("ws: value is not JSON")
	}
	return src, nil
}

// deliver is the Decode function of the relay.
func deliver(entry *redisio.Entry) (delivery, []string, error) {
	var e redisio.Envelope
	m, err := outbound.Decode(entry, &e)
	if err != nil {
		return delivery{}, nil, err
	}
	for _, h := range e.Headers {
		if h.Name == headerEnd {
			end := &order{Target(strings.Clone(string(m.To))), strings.Clone(h.Value)}
			return delivery{order: end}, []string{topicEnd}, nil
		}
	}
	f := reply{Kind: "msg", Cursor: entry.ID, Room: m.To.Room(), From: m.From, Type: m.Type, Data: m.Value}
	return delivery{frame: f.frame()}, []string{strings.Clone(string(m.To))}, nil
}
