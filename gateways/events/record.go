package events

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/gateways/internal/traces"
	"github.com/streamerson/streamerson-go/gateways/internal/wire"
	"github.com/streamerson/streamerson-go/redisio"
)

// record is an entry of the stream, which all loops share.
type record struct {
	entry string // its ID
	at    time.Time
	err   error // the entry is no event

	id, typ, key, contentType string
	headers                   flow.Headers
	body                      []byte

	once    sync.Once
	decoded any // a decoded[T] for the first loop
}

// decoded is the value of an event as a T. It tells whether another loop has the same T: an
// assertion of the value itself would also succeed for an interface.
type decoded[T any] struct {
	value   T
	invalid error
}

// newRecord copies what loops need of an entry, and returns its topics in the relay. It never fails:
// an entry that is no event reaches all loops as an error.
func newRecord(e *redisio.Entry) (*record, []string, error) {
	r := &record{entry: strings.Clone(e.ID), at: e.Position.Time()}
	var env redisio.Envelope
	body, err := wire.Native.Decode(e, &env)
	if err != nil {
		var decode *redisio.DecodeError
		if !errors.As(err, &decode) {
			err = &redisio.DecodeError{ID: r.entry, Err: err}
		}
		r.err = err
		return r, []string{unreadable}, nil
	}
	r.id, r.typ, r.key = strings.Clone(env.ID), strings.Clone(env.Type), strings.Clone(env.Key)
	r.contentType, r.body = strings.Clone(env.ContentType), bytes.Clone(body)
	for _, h := range env.Headers {
		r.headers = append(r.headers, flow.Header{Name: strings.Clone(h.Name), Value: strings.Clone(h.Value)})
	}
	for _, h := range traces.Of(nil, &env) {
		r.headers = append(r.headers, flow.Header{Name: h.Name, Value: strings.Clone(h.Value)})
	}
	return r, []string{ofType(r.typ), ofKey(r.key), ofBoth(r.typ, r.key)}, nil
}

// An event has three topics in the relay: its type, its key, and both together.

func ofType(typ string) string { return "t" + typ }

func ofKey(key string) string { return "k" + key }

func ofBoth(typ, key string) string { return "b" + strconv.Itoa(len(typ)) + ":" + typ + key }

const unreadable = "?" // the topic of entries that are no events

// topicsOf returns the topics of a loop that receives not all events.
func topicsOf(typ string, f keyFilter) []string {
	topics := []string{unreadable}
	switch {
	case !f.on:
		return append(topics, ofType(typ))
	case typ == "":
		for _, k := range f.keys {
			topics = append(topics, ofKey(k))
		}
	default:
		for _, k := range f.keys {
			topics = append(topics, ofBoth(typ, k))
		}
	}
	return topics
}

// eventOf sets all but the cursor of an event.
func eventOf[T any](e *Event[T], r *record, codec redisio.Codec[T]) (err error) {
	e.Type, e.Key, e.ID, e.Time, e.Headers = r.typ, r.key, r.id, r.at, r.headers
	if r.err != nil {
		return r.err
	}
	r.once.Do(func() { r.decoded = decodedOf(r, codec) })
	d, same := r.decoded.(decoded[T])
	if !same {
		d = decodedOf(r, codec) // loops with another T decode for themselves
	}
	e.Value = d.value
	return d.invalid
}

func decodedOf[T any](r *record, codec redisio.Codec[T]) (d decoded[T]) {
	d.value, d.invalid = valueOf(r, codec)
	return d
}

// valueOf decodes the value of an event. A panic of the codec is an error, too.
func valueOf[T any](r *record, codec redisio.Codec[T]) (v T, err error) {
	defer func() {
		if err != nil {
			var zero T
			v, err = zero, &redisio.DecodeError{ID: r.entry, Field: "data", Err: err}
		}
	}()
	defer problem.Caught(&err)
	return wire.DecodeBody(codec, r.body, r.contentType)
}
