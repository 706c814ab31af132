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

// Message is something that sockets are told.
type Message[T any] struct {
	To    Target
	From  string // the user that it is from; "" if it is the application's own
	Type  string
	Value T
}

// defaultOutbound is how many entries the log keeps.
const defaultOutbound = 100_000

// Outbound tells the sockets of a hub, on whatever process they are. It is sink.Stream, with all
// that is promised of it: a message is done when it is in the hub's log, in the order in which the
// messages come. Each process reads the log once, and delivers to its own sockets. Those that are
// away find in it what they missed.
//
// The configuration is that of the stream but for Key, KeyFor, Codec and Format, which are the
// hub's and stay empty. Values travel as JSON. MaxLen, 100,000 by default, is how far back a client
// that reconnects finds what it missed; behind it there is a gap, which it is told of. MaxBytes, 64
// MiB by default, bounds it likewise by the memory that it takes in Redis; negative disables that
// limit.
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
	cfg.DropUnread = true // the log has no groups that it would have to wait for
	switch {
	case cfg.MaxBytes == 0:
		cfg.MaxBytes = defaultBytes
	case cfg.MaxBytes < 0:
		cfg.MaxBytes = 0
	}
	return sink.Stream(rdb, cfg, append(append([]flow.StageOption{flow.Name("outbound")}, wrong...), opts...)...)
}

// headerFrom is the sender of a message.
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

// delivery is an entry of the log as sockets get it: encoded once in a process, shared by all of them.
type delivery struct {
	frame []byte
	order *order // instead
}

// outbound reads the hub's log. What is not JSON would break the frame that it goes into.
var outbound = messageFormat[rawMessage]{rawJSON{}}

type rawMessage = json.RawMessage

// rawJSON leaves JSON as it is, and is for reading.
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

// deliver is the relay's Decode.
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
