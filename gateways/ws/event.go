package ws

import (
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/source"
)

// EventKind is what happened at a socket.
type EventKind string

// The kinds of events. Those of presence come with HubConfig.Presence only.
const (
	Said         EventKind = "said"         // a client sent a message
	Connected    EventKind = "connected"    // a session began, or goes on here
	Joined       EventKind = "joined"       // it has joined a room
	Left         EventKind = "left"         // it has left a room, also by going away
	Disconnected EventKind = "disconnected" // its socket is gone; it may come back
)

// Event is something that happened at a socket, on its way to the workers of a hub. Kind, User,
// Session and Room are what the hub knows; Type and Value what the client says.
type Event[T any] struct {
	Kind    EventKind
	User    string
	Session string
	Room    string // "" if it is of none
	Type    string // of what was said
	Value   T      // likewise

	// Socket is the connection that the event is of; "" without HubConfig.Presence. The end of an
	// old socket may arrive after its session goes on with a new one: so count sockets, not
	// sessions. A session is gone when its last socket is.
	//
	// Resumed says that a Connected, and each Joined that comes of the hello, continues a session
	// that was there before, here or on another process.
	Socket  string
	Resumed bool
}

// Inbound is what the sockets of a hub say, on whatever process they are. It is source.Stream, with
// all that is promised of it: processes of one group (the default is "workers") share the events,
// and each is settled by one of them.
//
// The configuration is that of the stream but for Key, Codec and Format, which are the hub's and
// stay empty. Values are JSON; one that T can't hold is a dead letter. The key of a message is that
// of its room, or else of its user: with flow.Workers and flow.KeyedBy(ws.ByKey) the order of each
// room is kept. MessageID is the same when a client says something again because it did not hear
// that it had got through; the hub drops such copies for a while, see HubConfig.DedupeWindow.
//
// Processes that die leave no Left and no Disconnected behind: who counts presence lets it expire.
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
	return source.Stream(rdb, cfg, append(append([]flow.StageOption{flow.Name("inbound")}, wrong...), opts...)...)
}

// endpoint is what is wrong with the arguments of Inbound and Outbound.
func endpoint(what, hub string, set bool) (wrong []flow.StageOption) {
	if err := checkHub(what, hub); err != nil {
		wrong = append(wrong, flow.InvalidError(err))
	}
	if set {
		wrong = append(wrong, flow.InvalidError(&redisio.ConfigError{Type: what, Field: "Key, Codec, Format",
			Problem: "are set", Fix: "leave them out: they are the hub's"}))
	}
	return wrong
}

// ByKey is for flow.KeyedBy: the room of an event, or else its user.
func ByKey[T any](e Event[T]) string { return string(e.target()) }

func (e *Event[T]) target() Target {
	if e.Room != "" {
		return Room(e.Room)
	}
	return User(e.User)
}

// Headers of an event's entry. Nobody but the hub writes them.
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

// jsonBytes are JSON as they are.
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
		Err:   fmt.Errorf("%.20q is no kind of event", v.Kind),
	}
}

// saidFormat writes what sockets say.
type saidFormat struct{}

func (saidFormat) Encode(dst redisio.Fields, buf []byte, e *redisio.Envelope, v said) (redisio.Fields, []byte, error) {
	e.ID = v.id
	return eventFormat[[]byte]{jsonBytes{redisio.Bytes()}}.Encode(dst, buf, e, v.Event)
}

func (saidFormat) Decode(entry *redisio.Entry, e *redisio.Envelope) (v said, err error) {
	v.Event, err = eventFormat[[]byte]{jsonBytes{redisio.Bytes()}}.Decode(entry, e)
	v.id = e.ID
	return v, err
}
