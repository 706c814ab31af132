package ws

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/gateways/internal/traces"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/source"
)

// join joins a room. With since the client first receives the room's past messages, also if it has
// joined the room before.
func (in *incoming) join(q *request) *fault {
	s := in.s
	answer := reply{Kind: "joined", ID: q.id, Room: q.room}
	if _, is := in.rooms[q.room]; !is {
		if len(in.rooms) >= s.hub.cfg.MaxRooms {
			return &fault{q.id, codeRooms, "too many rooms: leave one first"}
		}
		if f := in.authorize(q.id, Join, q.room); f != nil {
			return f
		}
		if f := in.subscribe(q, &answer); f != nil {
			return f
		}
		in.rooms[q.room] = struct{}{}
		s.hub.count(q.room, 1)
		in.tellPresence(Joined, q.room, false)
	} else if q.since != "" {
		if f := in.subscribe(q, &answer); f != nil {
			return f
		}
	}
	s.reply(answer)
	return nil
}

// subscribe subscribes the listener to a room. If the request has a since, the client first
// receives the room's messages from there.
//
// Idea: pages of past messages are read and sent while the listener continues. Only for the last
// page, and for messages that arrive meanwhile, the writer does not poll the listener (see
// outgoing.pause), so that no live message overtakes a past one.
func (in *incoming) subscribe(q *request, answer *reply) *fault {
	s := in.s
	l, topic := s.listener.Load(), string(Room(q.room))
	_, joined := in.rooms[q.room]
	if q.since == "" {
		if !joined {
			l.Add(topic)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.hub.cfg.SendTimeout)
	defer cancel()
	past, err := l.Past(ctx, topic, q.since)
	if err == nil && joined {
		err = past.Until(l.Cursor()) // later messages have not been sent yet, and will be
	}
	for err == nil && past.More() {
		err = in.sendPast(ctx, q.id, past.Read)
	}
	if err == nil && !joined {
		s.out.pause(ctx)
		err = in.sendPast(ctx, q.id, past.Join)
		s.out.unpause()
	}
	switch {
	case errors.As(err, new(*relay.CursorError)):
		return badCursor(q.id)
	case err != nil:
		return &fault{q.id, codeAway, "cannot read past messages: try again"}
	}
	if g := past.Gap(); g != nil {
		answer.From, answer.To = g.From, g.To
	}
	return nil
}

// pageReader reads a page of past messages.
type pageReader func(context.Context) ([]relay.Item[delivery], error)

// sendPast reads a page of past messages and sends it.
func (in *incoming) sendPast(ctx context.Context, id string, read pageReader) error {
	items, err := read(ctx)
	if err != nil || len(items) == 0 {
		return err
	}
	name, _ := json.Marshal(id)
	for i := range items {
		if !in.s.out.put(asPast(items[i].Value.frame, name), nil) {
			return relay.ErrClosed
		}
	}
	return nil
}

var msgPrefix = []byte(`{"kind":"msg",`)

// asPast turns the frame of a message into one that answers a join. id is JSON.
func asPast(frame, id []byte) []byte {
	body := payload(frame)
	if !bytes.HasPrefix(body, msgPrefix) { // never: deliver makes them
		return frame
	}
	out := append([]byte(`{"kind":"past","id":`), id...)
	return seal(append(append(out, ','), body[len(msgPrefix):]...))
}

// payload returns the payload of a frame made by seal.
func payload(frame []byte) []byte {
	switch frame[1] {
	case 126:
		return frame[4 : 4+int(binary.BigEndian.Uint16(frame[2:]))]
	case 127:
		return frame[10:]
	}
	return frame[2:]
}

func (in *incoming) leave(q *request) *fault {
	if _, is := in.rooms[q.room]; is {
		delete(in.rooms, q.room)
		in.s.hub.count(q.room, -1)
		in.s.listener.Load().Remove(string(Room(q.room)))
		in.tellPresence(Left, q.room, false)
	}
	in.s.reply(reply{Kind: "left", ID: q.id, Room: q.room})
	return nil
}

// depart leaves all rooms when the socket has ended.
func (in *incoming) depart() {
	greeted := in.s.live.greeted.Load() // otherwise no Joined was told
	for room := range in.rooms {
		in.s.hub.count(room, -1)
		if greeted {
			in.tellPresence(Left, room, false)
		}
	}
	if greeted {
		in.tellPresence(Disconnected, "", false)
	}
	in.s.hub.budgets.release(in.who.User, in.budget)
}

// send writes a message into the stream of the workers, and waits until it is written.
func (in *incoming) send(q *request) *fault {
	s := in.s
	if q.room != "" {
		if _, is := in.rooms[q.room]; !is {
			return &fault{q.id, codeMember, "not in this room: join it first"}
		}
	}
	if f := in.authorize(q.id, Send, q.room); f != nil {
		return f
	}
	e := inboxEvent{Event: Event[[]byte]{Kind: Said, User: in.who.User, Session: in.session, Room: q.room, Type: q.typ,
		Value: q.data, Socket: in.id}}
	if q.data == nil {
		e.Value = []byte("null")
	}
	if q.id != "" {
		e.id = in.session + "-" + q.id
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.hub.cfg.SendTimeout)
	defer cancel()
	var span flow.Span
	e.trace, span = in.traceSend(ctx, q)
	err := s.run.inbox.Deliver(ctx, e)
	traces.End(span, &err)
	if f := writeFault(q.id, err); f != nil {
		return f
	}
	s.hub.stats.said.Add(1)
	if q.id != "" {
		s.reply(reply{Kind: "ack", ID: q.id})
	}
	return nil
}

// writeFault converts the error of a write. It returns nil without an error.
func writeFault(id string, err error) *fault {
	var large *redisio.TooLargeError
	var full *writer.StreamFullError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &full), errors.Is(err, redisio.ErrBackpressure):
		return &fault{id, codeBusy, "too many messages waiting: try again later"}
	case errors.As(err, &large):
		return &fault{id, codeLarge, "the message is too large"}
	case errors.Is(err, source.ErrUnsettled):
		return &fault{id, codeDoubt, "outcome unknown: send it again with the same id"}
	case errors.Is(err, source.ErrClosed), errors.Is(err, source.ErrEnded):
		return &fault{id, codeClosing, "server shutting down: reconnect and send it again"}
	}
	return &fault{id, codeAway, "message not accepted: try again later"}
}

// presenceTimeout is how long an event of presence may wait to be queued when Redis is slow.
const presenceTimeout = 5 * time.Second

// tellPresence writes an event of presence. first is set for events of the hello.
func (in *incoming) tellPresence(what EventKind, room string, first bool) {
	s := in.s
	if !s.hub.cfg.Presence {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), presenceTimeout)
	defer cancel()
	e := inboxEvent{Event: Event[[]byte]{Kind: what, User: in.who.User, Session: in.session, Room: room, Socket: in.id,
		Resumed: in.resumed && (what == Connected || what == Joined && first)}}
	if err := s.run.inbox.Offer(ctx, e); err != nil {
		s.hub.cfg.Log.Warn("presence event lost", "hub", s.hub.name, "event", string(what), "error", err)
	}
}

// authorizeTimeout bounds each call of Authorize.
const authorizeTimeout = 10 * time.Second

// authorize calls Authorize, and turns a refusal into a fault.
func (in *incoming) authorize(id string, what Action, room string) *fault {
	cfg := &in.s.hub.cfg
	if cfg.Authorize == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(in.s.ctx, authorizeTimeout)
	defer cancel()
	err := caught(func() error { return cfg.Authorize(ctx, in.who, what, room) })
	if err == nil {
		return nil
	}
	if problem.LogPanic(cfg.Log, err, "Authorize panicked", "hub", in.s.hub.name, "room", room) {
		return &fault{id, string(gateways.CodeInternal), "internal error while authorizing " + string(what)}
	}
	f := &fault{id, codeDenied, "not allowed to " + string(what) + " here"}
	var said *gateways.RemoteError
	if errors.As(err, &said) {
		f.code, f.message = string(said.Code), said.Message
	}
	return f
}

// caught calls f and returns its panic as an error, because goroutines of sockets have no other
// recover.
func caught(f func() error) (err error) {
	defer flow.Catch(&err)
	return f()
}
