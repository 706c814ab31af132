package events

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/slot"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/source"
)

// SubscribeConfig configures Subscribe. The zero value is the default.
type SubscribeConfig struct {
	// Group shares the events between the processes of the same group: one process handles each
	// event, and it is redelivered if that fails. Without a Group every process receives every
	// event, and none is redelivered.
	Group string
	// Start is where to begin. Defaults to the end without a Group, and to the beginning for a new
	// Group.
	Start redisio.Start
	// Wait is how long to retry if Redis is not reachable at the start; see source.StreamConfig.
	Wait time.Duration
}

// Subscribe returns a source of a topic's events of a type, or of all types if typ is "". Events of
// other types are skipped. An event that can't be decoded is subject to the source's fault policy:
// without a Group it is dropped, with one it becomes a dead letter.
//
//	created := events.Subscribe[Order](rdb, "orders", "created", events.SubscribeConfig{Group: "billing"})
//	g := flow.New("billing", flow.To(created, sink.Func(bill)))
//
// Order: kept. Acks: those of source.Stream with a Group, none without. Holds: nothing. Ends: by
// drain only.
func Subscribe[T any](
	rdb redis.UniversalClient,
	topic, typ string,
	cfg SubscribeConfig,
	opts ...flow.StageOption,
) flow.Source[T] {
	opts = append(opts, flow.InvalidError(slot.CheckTopic("Subscribe", topic)))
	format := eventFormat[T]{typ, redisio.DefaultCodec[T]()}
	var all flow.Source[occurrence[T]]
	if cfg.Group != "" {
		all = source.Stream(
			rdb,
			source.StreamConfig[occurrence[T]]{
				Key:    Key(topic),
				Group:  cfg.Group,
				Start:  cfg.Start,
				Wait:   cfg.Wait,
				Format: format,
			},
			opts...)
	} else {
		all = source.Tail(rdb, source.TailConfig[occurrence[T]]{
			Key: Key(topic), Start: cfg.Start, Wait: cfg.Wait, Format: format,
		}, opts...)
	}
	return operators.FilterMap(
		all,
		func(_ context.Context, o occurrence[T]) (T, bool, error) { return o.value, o.wanted, nil },
	)
}

// occurrence is an event, of the wanted type or of another.
type occurrence[T any] struct {
	value  T
	wanted bool
}

// eventFormat reads events of a type.
type eventFormat[T any] struct {
	typ   string
	codec redisio.Codec[T]
}

func (f eventFormat[T]) Encode(
	redisio.Fields,
	[]byte,
	*redisio.Envelope,
	occurrence[T],
) (redisio.Fields, []byte, error) {
	return nil, nil, errors.New("gateways: this format only reads")
}

func (f eventFormat[T]) Decode(entry *redisio.Entry, e *redisio.Envelope) (o occurrence[T], err error) {
	body, err := wire.Native.Decode(entry, e)
	if err != nil || f.typ != "" && f.typ != e.Type {
		return o, err
	}
	o.wanted = true
	if o.value, err = wire.DecodeBody(f.codec, body, e.ContentType); err != nil {
		err = &redisio.DecodeError{ID: entry.ID, Field: "data", Err: err}
	}
	return o, err
}
