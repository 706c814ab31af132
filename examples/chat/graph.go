package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
	"github.com/streamerson/streamerson-go/source/cron"
)

// told is a message to a page. The type of the message decides which fields are set: line and
// typing; past (the lines of a conversation); who (the users in a room); rooms; refused (a text and
// the reason).
type told struct {
	*line
	With  string   `json:"with,omitempty"` // the conversation of past: a room or the other user
	Lines []line   `json:"lines,omitempty"`
	In    string   `json:"in,omitempty"` // a room, for its list of users
	Users []string `json:"users,omitempty"`
	Rooms []room   `json:"rooms,omitempty"`
	Said  string   `json:"said,omitempty"`
	Why   string   `json:"why,omitempty"`
}

type message = ws.Message[told]

// byRoom keeps the order of each room, or of each user outside rooms, while others are handled
// concurrently.
var byRoom = flow.KeyedBy(func(h heard) string { return ws.ByKey(h.Event) })

// workers returns the graph between the messages from sockets and the messages to them:
//
//	It moderates and stores each text, and sends it to the room or the user, or the refusal to its author.
//	Presence events, and a clock that ticks once for all workers, produce the lists of users and rooms.
func workers(rdb redis.UniversalClient, opts ...flow.Part) *flow.Graph {
	w := &worker{store{rdb}, newAccounts(rdb)}
	events := ws.Inbound(rdb, hub, source.StreamConfig[ws.Event[said]]{})
	spoken, presence := operators.Split(
		operators.MapMessage(events, stamp, flow.Name("stamp")),
		isSpoken,
		flow.Name("spoken?"),
	)

	deeds, refused := operators.Try(spoken, w.moderate, flow.Name("moderate"), flow.Workers(4), byRoom)
	answers := operators.FlatMap(deeds, w.tell, flow.Name("tell"))
	apologies := operators.Map(refused, flow.Pure(apologize), flow.Name("apologize"))
	comings := operators.FlatMap(presence, w.attend, flow.Name("attend"))
	clock := cron.Source(
		rdb,
		"@every 2s",
		source.TicksConfig{Key: key("clock"), Group: "workers", Missed: -1, MaxLen: 10},
	)
	lists := operators.FlatMap(clock, w.list, flow.Name("list"))

	told := operators.FanIn(answers, apologies, comings, lists)
	parts := []flow.Part{flow.To(told, ws.Outbound(rdb, hub, sink.StreamConfig[message]{}))}
	return flow.New("chat", append(parts, opts...)...)
}

func stamp(_ context.Context, m flow.Message[ws.Event[said]]) (heard, error) {
	return heard{m.Value, m.ID(), m.Time()}, nil
}

func isSpoken(h heard) bool { return h.Kind == ws.Said }

// worker has the functions of the graph.
type worker struct {
	store    store
	accounts *accounts
}

// deed is a message that was accepted.
type deed struct {
	heard
	line line // of type say
}

// moderate accepts a message, or refuses it with an error. An error of Redis is retried instead.
func (w *worker) moderate(ctx context.Context, h heard) (deed, error) {
	switch h.Type {
	case "here", "bye", "typing", "past":
		return deed{heard: h}, nil
	case "say":
	default:
		return deed{}, fmt.Errorf("unknown message type %.20q", h.Type)
	}
	l, err := written(h)
	if err != nil {
		return deed{}, err
	}
	if ok, err := w.store.allow(ctx, "say", h.User, rateLines); err != nil {
		return deed{}, flow.RetryAfter(time.Second, err)
	} else if !ok {
		return deed{}, errors.New("not so fast: take a breath")
	}
	if l.To != "" {
		name, err := w.accounts.spelled(ctx, l.To)
		if err != nil {
			return deed{}, flow.RetryAfter(time.Second, err)
		}
		if name == "" {
			return deed{}, fmt.Errorf("no user is named %s", l.To)
		}
		l.To = name
	}
	return deed{h, l}, nil
}

// tell stores lines, and sends every message to its audience.
func (w *worker) tell(ctx context.Context, it deed, emit func(message)) error {
	switch h := it.heard; h.Type {
	case "say":
		if err := w.store.keep(ctx, it.line); err != nil {
			return err
		}
		for _, to := range audience(it.line) {
			emit(message{To: to, From: h.User, Type: "line", Value: told{line: &it.line}})
		}
	case "typing":
		if h.Room != "" {
			emit(message{To: ws.Room(h.Room), From: h.User, Type: "typing"})
		} else if h.Value.To != "" {
			emit(message{To: ws.User(h.Value.To), From: h.User, Type: "typing"})
		}
	case "past":
		return w.tellPast(ctx, h, emit)
	case "here":
		news, err := w.store.seen(ctx, h.Room, h.User, h.Socket)
		return w.tellAll(ctx, h.Room, news, err, emit)
	case "bye":
		news, err := w.store.left(ctx, h.Room, h.User, h.Socket)
		return w.tellAll(ctx, h.Room, news, err, emit)
	}
	return nil
}

// audience returns the receivers of a line: a room, or both users of a conversation.
func audience(l line) []ws.Target {
	switch l.To {
	case "":
		return []ws.Target{ws.Room(l.Room)}
	case l.From:
		return []ws.Target{ws.User(l.From)}
	}
	return []ws.Target{ws.User(l.To), ws.User(l.From)}
}

// tellPast sends a session the stored lines of a conversation. The rate is limited, because the
// answer is much larger than the request.
func (w *worker) tellPast(ctx context.Context, h heard, emit func(message)) error {
	if ok, err := w.store.allow(ctx, "past", h.User, ratePasts); err != nil || !ok {
		return err
	}
	lines, err := w.store.past(ctx, conversation(h.Room, h.User, h.Value.To))
	if err == nil {
		emit(message{To: ws.Session(h.Session), Type: "past", Value: told{With: with(h), Lines: lines}})
	}
	return err
}

// tellAll sends a room the list of its users, if that has changed.
func (w *worker) tellAll(ctx context.Context, room string, news bool, err error, emit func(message)) error {
	if err != nil || !news || room == "" {
		return err
	}
	return w.tellWho(ctx, room, ws.Room(room), emit)
}

func (w *worker) tellWho(ctx context.Context, room string, to ws.Target, emit func(message)) error {
	users, err := w.store.here(ctx, room)
	if err == nil {
		emit(message{To: to, Type: "who", Value: told{In: room, Users: users}})
	}
	return err
}

// attend records which users come and go. A new user in a room receives its stored lines. They are
// read after the join, so a line that is written meanwhile arrives twice instead of never. The page
// recognizes it by its id.
func (w *worker) attend(ctx context.Context, h heard, emit func(message)) error {
	switch h.Kind {
	case ws.Connected:
		rooms, err := w.store.list(ctx)
		if err == nil {
			emit(message{To: ws.Session(h.Session), Type: "rooms", Value: told{Rooms: rooms}})
		}
		return err
	case ws.Joined:
		news, err := w.store.seen(ctx, h.Room, h.User, h.Socket)
		if err == nil {
			err = w.tellPast(ctx, h, emit)
		}
		if err == nil && !news {
			return w.tellWho(ctx, h.Room, ws.Session(h.Session), emit)
		}
		return w.tellAll(ctx, h.Room, news, err, emit)
	case ws.Left:
		return w.store.lost(ctx, h.Room, h.User, h.Socket)
	}
	return nil
}

// list removes the users that count as gone. It sends all sockets the list of rooms with their
// numbers of users, if that is due.
func (w *worker) list(ctx context.Context, _ source.Tick, emit func(message)) error {
	names, err := w.store.names(ctx)
	for _, name := range names {
		if news, failed := w.store.expire(ctx, name); news || failed != nil {
			err = errors.Join(err, w.tellAll(ctx, name, news, failed, emit))
		}
	}
	if err != nil {
		return err
	}
	rooms, news, err := w.store.listed(ctx)
	if err == nil && news {
		emit(message{To: ws.All, Type: "rooms", Value: told{Rooms: rooms}})
	}
	return err
}

// apologize returns the message with the reason of a refused text, for its author.
func apologize(f flow.Failure[heard]) message {
	h := f.Value
	return message{
		To:    ws.Session(h.Session),
		Type:  "refused",
		Value: told{Said: h.Value.Text, Why: f.Error, With: with(h)},
	}
}

// with returns the name of the conversation of a message, as its page knows it.
func with(h heard) string {
	switch {
	case h.Room != "":
		return h.Room
	case h.Value.To != "":
		return "@" + h.Value.To
	}
	return ""
}
