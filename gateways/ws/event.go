package ws

import (
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/source"
)

// EventKind is the kind of an Event.
type EventKind string

// The kinds of events. All except Said are sent with HubConfig.Presence only.
const (
	Said         EventKind = "said"         // a client sent a message
	Connected    EventKind = "connected"    // a session began, or continues here
	Joined       EventKind = "joined"       // the session joined a room
	Left         EventKind = "left"         // the session left a room, or its socket closed
	Disconnected EventKind = "disconnected" // the socket closed; the session may continue
)

// Event is what happened at a socket, on its way to the workers of a hub. The hub sets Kind, User,
// Session and Room; the client sets Type and Value.
type Event[T any] struct {
	Kind    EventKind
	User    string
	Session string
	Room    string // "" if the event belongs to no room
	Type    string // of a Said
	Value   T      // of a Said

	// Socket identifies the connection of the event; "" without HubConfig.Presence. The end of an
	// old socket may arrive after its session continues with a new one. So count sockets, not
	// sessions: a session has ended when its last socket has.
	//
	// Resumed is set on a Connected, and on each Joined of its hello, if the session existed
	// before, on this or another process.
	Socket  string
	Resumed bool
}

// Inbound reads what the clients of a hub send, on all processes. It is a source.Stream with all
// its guarantees: processes of one group (by default "workers") share the events, and each event is
// settled by one of them.
//
// The configuration is that of the stream. Key, Codec and Format belong to the hub and must stay
// empty. Values are JSON; one that does not decode as T becomes a dead letter. The key of an event
// is its room, or else its user: flow.Workers with flow.KeyedBy(ws.ByKey) keeps the order of each
// room. MessageID is the same when a client sends a message again because it received no
// acknowledgement. The hub drops such copies for some time, see HubConfig.DedupeWindow.
//
// A process that crashes writes no Left and no Disconnected, so let presence counts expire.
func Inbound[T any](
	rdb redis.UniversalClient,
	hub string,
	cfg source.StreamConfig[Event[T]],
	opts ...flow.StageOption,
) flow.Source[Event[T]] {
	wrong := endpoint("Inbound", hub, cfg.Key != "" || cfg.Codec != nil || cfg.Format != nil)
	cfg.Key, cfg.Codec, cfg.Format = keysOf(hub).in, nil, eventFormat[T]{redisio.JSON[T]()}
	if cfg.Group == "" {
		cfg.Group = "workers"
	}
	return source.Stream(rdb, cfg, append([]flow.StageOption{flow.Name("inbound"), wrong}, opts...)...)
}

// endpoint reports mistakes in the arguments of Inbound and Outbound.
func endpoint(what, hub string, set bool) flow.StageOption {
	m := redisio.MistakesOf(what)
	m.Join(checkHub(what, hub))
	m.If(set, "Key, Codec, Format", "are set", "leave them out, the hub sets them")
	return flow.InvalidError(m.Err())
}

// ByKey returns the room of an event, or else its user. Use it with flow.KeyedBy.
func ByKey[T any](e Event[T]) string { return string(e.target()) }

func (e *Event[T]) target() Target {
	if e.Room != "" {
		return Room(e.Room)
	}
	return User(e.User)
}

// Headers of an event's entry. Only the hub writes them.
const (
	headerEvent   = "event"
	headerUser    = "user"
	headerSession = "session"
	headerRoom    = "room"
	headerSocket  = "socket"
	headerResumed = "resumed"
)

// eventFormat reads and writes events as native entries: data, type, id, key, h:event, h:user,
// h:session, h:room, h:socket, h:resumed.
type eventFormat[T any] struct{ codec redisio.Codec[T] }

func (f eventFormat[T]) Encode(
	dst redisio.Fields,
	buf []byte,
	e *redisio.Envelope,
	v Event[T],
) (redisio.Fields, []byte, error) {
	e.Type, e.Key, e.ContentType = v.Type, string(v.target()), ""
	e.Headers = append(e.Headers[:0], redisio.Header{Name: headerEvent, Value: string(v.Kind)},
		redisio.Header{Name: headerUser, Value: v.User}, redisio.Header{Name: headerSession, Value: v.Session})
	if v.Room != "" {
		e.Headers = append(e.Headers, redisio.Header{Name: headerRoom, Value: v.Room})
	}
	if v.Socket != "" {
		e.Headers = append(e.Headers, redisio.Header{Name: headerSocket, Value: v.Socket})
	}
	if v.Kind != Said {
		if v.Resumed {
			e.Headers = append(e.Headers, redisio.Header{Name: headerResumed, Value: "1"})
		}
		return presence.Encode(dst, buf, e, []byte("null"))
	}
	return redisio.Native(f.codec).Encode(dst, buf, e, v.Value)
}

// presence is the format of entries without a value, and of values that are JSON already.
var presence = redisio.Native[[]byte](jsonBytes{redisio.Bytes()})

// jsonBytes is a codec that keeps JSON as it is.
type jsonBytes struct{ redisio.Codec[[]byte] }

func (jsonBytes) ContentType() string { return "application/json" }

func (f eventFormat[T]) Decode(entry *redisio.Entry, e *redisio.Envelope) (v Event[T], err error) {
	data, err := presence.Decode(entry, e)
	if err != nil {
		return v, err
	}
	v.Type = e.Type
	for _, h := range e.Headers {
		switch h.Name {
		case headerEvent:
			v.Kind = EventKind(h.Value)
		case headerUser:
			v.User = h.Value
		case headerSession:
			v.Session = h.Value
		case headerRoom:
			v.Room = h.Value
		case headerSocket:
			v.Socket = h.Value
		case headerResumed:
			v.Resumed = h.Value == "1"
		}
	}
	switch v.Kind {
	case Connected, Joined, Left, Disconnected:
		return v, nil
	case Said:
		if v.Value, err = f.codec.Decode(data); err != nil {
			return v, &redisio.DecodeError{ID: entry.ID, Field: "data", Err: err}
		}
		return v, nil
	}
	return v, &redisio.DecodeError{
		ID:    entry.ID,
		Field: "h:" + headerEvent,
		Err:   fmt.Errorf("unknown kind of event %.20q", v.Kind),
	}
}

// inboxFormat writes messages of sockets as events.
type inboxFormat struct{}

func (inboxFormat) Encode(
	dst redisio.Fields,
	buf []byte,
	e *redisio.Envelope,
	v inboxEvent,
) (redisio.Fields, []byte, error) {
	e.ID = v.id
	return eventFormat[[]byte]{jsonBytes{redisio.Bytes()}}.Encode(dst, buf, e, v.Event)
}

func (inboxFormat) Decode(entry *redisio.Entry, e *redisio.Envelope) (v inboxEvent, err error) {
	v.Event, err = eventFormat[[]byte]{jsonBytes{redisio.Bytes()}}.Decode(entry, e)
	v.id = e.ID
	return v, err
}
