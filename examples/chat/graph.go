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

// told is what a page is told. What is set depends on the type: line and typing; past (the lines of
// a conversation); who (the users in a room); rooms; refused (what was said, and why not).
type told struct {
	*line
	With  string   `json:"with,omitempty"` // past: the conversation, as a room or the other user
	Lines []line   `json:"lines,omitempty"`
	In    string   `json:"in,omitempty"` // who: the room
	Users []string `json:"users,omitempty"`
	Rooms []room   `json:"rooms,omitempty"`
	Said  string   `json:"said,omitempty"`
	Why   string   `json:"why,omitempty"`
}

type message = ws.Message[told]

// byRoom keeps the order of each room, or else of each user, while several are worked on at the same time.
var byRoom = flow.KeyedBy(func(h heard) string { return ws.ByKey(h.Event) })

// workers is the graph between what sockets say and what they are told:
//
//	what is said is moderated, kept, and told to the room or to a user; what is refused is told to the one who said it;
//	presence, and a clock that ticks once for all workers, make the lists of who is where.
func workers(rdb redis.UniversalClient, opts ...flow.Part) *flow.Graph {
	d := &desk{store{rdb}, newAccounts(rdb)}
	events := ws.Inbound(rdb, hub, source.StreamConfig[ws.Event[said]]{})
	spoken, presence := operators.Split(
		operators.MapMessage(events, stamp, flow.Name("stamp")),
		isSpoken,
		flow.Name("spoken?"),
	)

	deeds, refused := operators.Try(spoken, d.moderate, flow.Name("moderate"), flow.Workers(4), byRoom)
	answers := operators.FlatMap(deeds, d.tell, flow.Name("tell"))
	apologies := operators.Map(refused, flow.Pure(apologize), flow.Name("apologize"))
	comings := operators.FlatMap(presence, d.attend, flow.Name("attend"))
	clock := cron.Source(
		rdb,
		"@every 2s",
		source.TicksConfig{Key: key("clock"), Group: "workers", Missed: -1, MaxLen: 10},
	)
	lists := operators.FlatMap(clock, d.list, flow.Name("list"))

	told := operators.FanIn(answers, apologies, comings, lists)
	parts := []flow.Part{flow.To(told, ws.Outbound(rdb, hub, sink.StreamConfig[message]{}))}
	return flow.New("chat", append(parts, opts...)...)
}

func stamp(_ context.Context, m flow.Message[ws.Event[said]]) (heard, error) {
	return heard{m.Value, m.ID(), m.Time()}, nil
}

func isSpoken(h heard) bool { return h.Kind == ws.Said }

// desk is what a worker works with.
type desk struct {
	store    store
	accounts *accounts
}

// deed is what becomes of what was said.
type deed struct {
	heard
	line line // of type say
}

// moderate takes what was said, or refuses it by an error. An error of Redis is none of those: it is tried again.
func (d *desk) moderate(ctx context.Context, h heard) (deed, error) {
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
	if ok, err := d.store.allow(ctx, "say", h.User, rateLines); err != nil {
		return deed{}, flow.RetryAfter(time.Second, err)
	} else if !ok {
		return deed{}, errors.New("not so fast: take a breath")
	}
	if l.To != "" {
		name, err := d.accounts.spelled(ctx, l.To)
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

// tell keeps lines, and tells them and all else that was said to those it is for.
func (d *desk) tell(ctx context.Context, it deed, emit func(message)) error {
	switch h := it.heard; h.Type {
	case "say":
		if err := d.store.keep(ctx, it.line); err != nil {
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
		return d.tellPast(ctx, h, emit)
	case "here":
		news, err := d.store.seen(ctx, h.Room, h.User, h.Socket)
		return d.tellAll(ctx, h.Room, news, err, emit)
	case "bye":
		news, err := d.store.left(ctx, h.Room, h.User, h.Socket)
		return d.tellAll(ctx, h.Room, news, err, emit)
	}
	return nil
}

// audience are those whom a line is for: a room, or both ends of a conversation.
func audience(l line) []ws.Target {
	switch l.To {
	case "":
		return []ws.Target{ws.Room(l.Room)}
	case l.From:
		return []ws.Target{ws.User(l.From)}
	}
	return []ws.Target{ws.User(l.To), ws.User(l.From)}
}

// tellPast tells a session what was said, within bounds: it is much that one short word asks for.
func (d *desk) tellPast(ctx context.Context, h heard, emit func(message)) error {
	if ok, err := d.store.allow(ctx, "past", h.User, ratePasts); err != nil || !ok {
		return err
	}
	lines, err := d.store.past(ctx, conversation(h.Room, h.User, h.Value.To))
	if err == nil {
		emit(message{To: ws.Session(h.Session), Type: "past", Value: told{With: with(h), Lines: lines}})
	}
	return err
}

// tellAll tells a room who is there, if there is news.
func (d *desk) tellAll(ctx context.Context, room string, news bool, err error, emit func(message)) error {
	if err != nil || !news || room == "" {
		return err
	}
	return d.tellWho(ctx, room, ws.Room(room), emit)
}

func (d *desk) tellWho(ctx context.Context, room string, to ws.Target, emit func(message)) error {
	users, err := d.store.here(ctx, room)
	if err == nil {
		emit(message{To: to, Type: "who", Value: told{In: room, Users: users}})
	}
	return err
}

// attend notes who comes and goes. One who joins a room is told what was said there before. That is
// read behind the join, so what is said meanwhile comes twice rather than not at all, and the page
// can tell by its id.
func (d *desk) attend(ctx context.Context, h heard, emit func(message)) error {
	switch h.Kind {
	case ws.Connected:
		rooms, err := d.store.list(ctx)
		if err == nil {
			emit(message{To: ws.Session(h.Session), Type: "rooms", Value: told{Rooms: rooms}})
		}
		return err
	case ws.Joined:
		news, err := d.store.seen(ctx, h.Room, h.User, h.Socket)
		if err == nil {
			err = d.tellPast(ctx, h, emit)
		}
		if err == nil && !news {
			return d.tellWho(ctx, h.Room, ws.Session(h.Session), emit)
		}
		return d.tellAll(ctx, h.Room, news, err, emit)
	case ws.Left:
		return d.store.lost(ctx, h.Room, h.User, h.Socket)
	}
	return nil
}

// list looks for those who have gone without a word, and tells all who have connected which rooms
// there are and how many are in them.
func (d *desk) list(ctx context.Context, _ source.Tick, emit func(message)) error {
	names, err := d.store.names(ctx)
	for _, name := range names {
		if news, failed := d.store.expire(ctx, name); news || failed != nil {
			err = errors.Join(err, d.tellAll(ctx, name, news, failed, emit))
		}
	}
	if err != nil {
		return err
	}
	rooms, news, err := d.store.listed(ctx)
	if err == nil && news {
		emit(message{To: ws.All, Type: "rooms", Value: told{Rooms: rooms}})
	}
	return err
}

// apologize tells the one who said something why it is not told to anybody.
func apologize(f flow.Failure[heard]) message {
	h := f.Value
	return message{
		To:    ws.Session(h.Session),
		Type:  "refused",
		Value: told{Said: h.Value.Text, Why: f.Error, With: with(h)},
	}
}

// with is the conversation that somebody said something in, as its page knows it.
func with(h heard) string {
	switch {
	case h.Room != "":
		return h.Room
	case h.Value.To != "":
		return "@" + h.Value.To
	}
	return ""
}
