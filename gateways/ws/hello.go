package ws

import (
	"context"
	"errors"
	"time"

	"github.com/streamerson/streamerson-go/gateways/internal/relay"
)

// hello begins or resumes a session.
func (in *incoming) hello(q *request) *fault {
	s, cfg := in.s, &in.s.hub.cfg
	if s.live.greeted.Load() {
		return &fault{q.id, codeHello, "hello already received"}
	}
	in.resume(q.resume)
	answer := reply{
		Kind: "hello",
		ID:   q.id,
		welcome: &welcome{
			Session: in.session,
			Resume:  s.run.seal.seal(in.session, in.who.User, time.Now().Add(cfg.SessionTTL)),
			Resumed: in.resumed,
			User:    in.who.User,
		},
		entered: &entered{Limits: &s.hub.limits},
	}
	in.enterAll(q, answer.entered)
	l, wrong := in.listen(q, answer.Rooms)
	if wrong != nil {
		clear(in.rooms)
		return wrong
	}
	for room := range in.rooms {
		s.hub.count(room, 1)
	}
	in.budget = s.hub.budgets.acquire(in.who.User)
	answer.Cursor = l.Cursor()
	s.out.told = answer.Cursor
	if !s.out.put(answer.frame(), s.live.greet) { // before any frame of the listener
		l.Close()
		return &fault{q.id, codeHello, "socket is closing"} // not sent: the reader ends
	}
	s.listener.Store(l)
	s.out.wake()
	in.tellPresence(Connected, "", true)
	for _, room := range answer.Rooms {
		in.tellPresence(Joined, room, true)
	}
	return nil
}

// resume continues the session of a token, or begins a new one.
func (in *incoming) resume(token string) {
	in.session, in.resumed = newSession(), false
	session, user, ok := in.s.run.seal.recognize(in.s.ctx, token)
	if !ok {
		return
	}
	if in.s.hub.cfg.Authenticate == nil {
		in.who.User = user
	}
	if user == in.who.User {
		in.session, in.resumed = session, true
	}
}

// enterAll enters the rooms of a hello, and adds them and the refused ones to the answer.
func (in *incoming) enterAll(q *request, answer *entered) {
	most := in.s.hub.cfg.MaxRooms
	in.rooms = make(map[string]struct{}, min(len(q.rooms), most))
	tried := make(map[string]struct{}, min(len(q.rooms), most)) // rooms that Authorize has checked
	for _, room := range q.rooms {
		if _, twice := tried[room]; twice {
			continue
		}
		if code := in.enter(q.id, room, tried); code != "" {
			if answer.Reasons == nil {
				answer.Reasons = make(codes)
			}
			if _, twice := answer.Reasons[room]; !twice {
				answer.Reasons[room] = code
				answer.Refused = append(answer.Refused, room)
			}
			continue
		}
		in.rooms[room] = struct{}{}
		answer.Rooms = append(answer.Rooms, room)
	}
}

// enter returns the code with which a room of a hello is refused, or "" if it is accepted.
func (in *incoming) enter(id, room string, tried map[string]struct{}) string {
	switch {
	case checkName("room", room) != nil:
		return codeFrame
	case len(tried) >= in.s.hub.cfg.MaxRooms:
		return codeRooms
	}
	tried[room] = struct{}{}
	if f := in.authorize(id, Join, room); f != nil {
		return f.code
	}
	return ""
}

// listen subscribes to what a session receives, from the cursor of the hello.
func (in *incoming) listen(q *request, rooms []string) (*relay.Listener[delivery], *fault) {
	s, cfg := in.s, &in.s.hub.cfg
	topics := make([]string, 0, 3+len(rooms))
	topics = append(topics, string(All), string(User(in.who.User)), string(Session(in.session)))
	for _, room := range rooms {
		topics = append(topics, string(Room(room)))
	}
	ctx, cancel := context.WithTimeout(s.ctx, cfg.SendTimeout)
	defer cancel()
	o := relay.Options{From: q.cursor, Topics: topics, Overflow: cfg.Slow, Wake: s.out.wake}
	l, err := s.hub.relay.Listen(ctx, o)
	switch {
	case errors.As(err, new(*relay.CursorError)):
		return nil, badCursor(q.id)
	case err != nil:
		return nil, &fault{q.id, codeAway, "cannot read the message log: try again"}
	}
	return l, nil
}

func badCursor(id string) *fault {
	return &fault{id, codeCursor, "invalid cursor: send one that came with a message"}
}
