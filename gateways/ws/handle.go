package ws

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"

	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/source"
)

// handle carries out a frame of the client. It returns false when the socket has ended.
func (s *socket) handle(frame []byte) bool {
	s.hub.stats.received.Add(1)
	if !s.pace(len(frame)) {
		return false
	}
	q, wrong := parse(frame)
	if q.kind != kindPing {
		s.spoke.Store(s.hub.clock.now())
	}
	switch {
	case wrong != nil:
		s.hub.stats.bad.Add(1)
	case !s.greeted.Load() && q.kind != kindHello:
		wrong = &fault{q.id, codeHello, "the first frame must be a hello"}
	case s.goes():
		wrong = &fault{q.id, codeClosing, "server shutting down: reconnect and send it again"}
	default:
		wrong = s.do(&q)
	}
	return wrong == nil || s.sorry(wrong)
}

func (s *socket) goes() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaving
}

func (s *socket) do(q *request) *fault {
	switch q.kind {
	case kindHello:
		return s.hello(q)
	case kindJoin:
		return s.join(q)
	case kindLeave:
		return s.part(q)
	case kindSend:
		return s.send(q)
	case kindCall:
		return s.call(q)
	case kindCancel:
		s.cancelCall(q.id)
	case kindPing:
		s.say(reply{Kind: "pong", ID: q.id})
	}
	return nil
}

// pace delays a client that sends more frames than its rate, or whose user sends more bytes than
// allowed. No further frame is read meanwhile. It returns false when the socket has ended.
func (s *socket) pace(size int) bool {
	limited := false
	if !s.allow() {
		limited = true
		s.hub.stats.limited.Add(1)
		if s.limit.Wait(s.ctx) != nil {
			return false
		}
	}
	if b := s.budget; b != nil && !b.AllowN(time.Now(), size) {
		if !limited {
			s.hub.stats.limited.Add(1)
		}
		return b.WaitN(s.ctx, size) == nil
	}
	return true
}

func (s *socket) allow() bool {
	if s.hub.cfg.Rate < 0 {
		return true
	}
	if s.limit == nil {
		s.limit = rate.NewLimiter(rate.Limit(s.hub.cfg.Rate), s.hub.cfg.Burst)
	}
	return s.limit.Allow()
}

// pinged answers WebSocket pings within the rate. A ping beyond the rate is not answered, and
// delays reading.
func (s *socket) pinged(context.Context, []byte) bool {
	s.seen.Store(s.hub.clock.now())
	return s.sparingly()
}

// ponged counts unsolicited pongs against the rate.
func (s *socket) ponged(context.Context, []byte) {
	s.seen.Store(s.hub.clock.now())
	if asked := s.asked.Load(); asked > s.answered {
		s.answered = asked
		return
	}
	s.sparingly()
}

// sparingly counts a control frame against the rate, and waits if it is exceeded. It reports
// whether it did not have to wait.
func (s *socket) sparingly() bool {
	if s.allow() {
		return true
	}
	s.hub.stats.limited.Add(1)
	s.busy.Store(true) // the delay is ours, not the client's silence
	_ = s.limit.Wait(s.ctx)
	s.busy.Store(false)
	s.seen.Store(s.hub.clock.now())
	return false
}

// hello begins or resumes a session.
func (s *socket) hello(q *request) *fault {
	cfg := &s.hub.cfg
	if s.greeted.Load() {
		return &fault{q.id, codeHello, "hello already received"}
	}
	s.session, s.resumed = newSession(), false
	if session, user, ok := s.life.seal.recognize(s.ctx, q.resume); ok {
		if cfg.Authenticate == nil {
			s.who.User = user
		}
		if user == s.who.User {
			s.session, s.resumed = session, true
		}
	}
	topics := []string{string(All), string(User(s.who.User)), string(Session(s.session))}
	answer := reply{
		Kind:    "hello",
		ID:      q.id,
		Session: s.session,
		User:    s.who.User,
		Resumed: s.resumed,
		Limits:  &s.hub.limits,
		Resume:  s.life.seal.seal(s.session, s.who.User, time.Now().Add(cfg.SessionTTL)),
	}
	s.rooms = make(map[string]struct{}, min(len(q.rooms), cfg.MaxRooms))
	tried := make(map[string]struct{}, min(len(q.rooms), cfg.MaxRooms)) // rooms that Authorize has checked
	for _, room := range q.rooms {
		if _, twice := tried[room]; twice {
			continue
		}
		if code := s.enter(q.id, room, tried); code != "" {
			if answer.Reasons == nil {
				answer.Reasons = make(codes)
			}
			if _, twice := answer.Reasons[room]; !twice {
				answer.Reasons[room] = code
				answer.Refused = append(answer.Refused, room)
			}
			continue
		}
		s.rooms[room] = struct{}{}
		answer.Rooms = append(answer.Rooms, room)
		topics = append(topics, string(Room(room)))
	}
	ctx, cancel := context.WithTimeout(s.ctx, cfg.SendTimeout)
	defer cancel()
	l, err := s.hub.relay.Listen(
		ctx,
		relay.Options{From: q.cursor, Topics: topics, Overflow: cfg.Slow.overflow(), Wake: s.wake},
	)
	var cursor *relay.CursorError
	switch {
	case errors.As(err, &cursor):
		clear(s.rooms)
		return badCursor(q.id)
	case err != nil:
		clear(s.rooms)
		return &fault{q.id, codeAway, "cannot read the message log: try again"}
	}
	for room := range s.rooms {
		s.hub.room(room, 1)
	}
	s.budget = s.hub.spend(s.who.User)
	answer.Cursor = l.Cursor()
	s.told = answer.Cursor
	s.greeted.Store(true)
	s.partial.Store(0)
	if !s.say(answer) { // before any frame of the listener
		l.Close()
		return nil
	}
	s.listener.Store(l)
	s.wake()
	s.tellPresence(Connected, "", true)
	for _, room := range answer.Rooms {
		s.tellPresence(Joined, room, true)
	}
	return nil
}

func badCursor(id string) *fault {
	return &fault{id, codeCursor, "invalid cursor: send one that came with a message"}
}

// enter returns the code with which a room of a hello is refused, or "" if it is accepted.
func (s *socket) enter(id, room string, tried map[string]struct{}) string {
	switch {
	case checkName("room", room) != nil:
		return codeFrame
	case len(tried) >= s.hub.cfg.MaxRooms:
		return codeRooms
	}
	tried[room] = struct{}{}
	if f := s.authorize(id, Join, room); f != nil {
		return f.code
	}
	return ""
}

// join joins a room. With since the client first receives the room's past messages, also if it has
// joined the room before.
func (s *socket) join(q *request) *fault {
	answer := reply{Kind: "joined", ID: q.id, Room: q.room}
	if _, is := s.rooms[q.room]; !is {
		if len(s.rooms) >= s.hub.cfg.MaxRooms {
			return &fault{q.id, codeRooms, "too many rooms: leave one first"}
		}
		if f := s.authorize(q.id, Join, q.room); f != nil {
			return f
		}
		if f := s.recall(q, &answer); f != nil {
			return f
		}
		s.rooms[q.room] = struct{}{}
		s.hub.room(q.room, 1)
		s.tellPresence(Joined, q.room, false)
	} else if q.since != "" {
		if f := s.recall(q, &answer); f != nil {
			return f
		}
	}
	s.say(answer)
	return nil
}

func (s *socket) part(q *request) *fault {
	if _, is := s.rooms[q.room]; is {
		delete(s.rooms, q.room)
		s.hub.room(q.room, -1)
		s.listener.Load().Remove(string(Room(q.room)))
		s.tellPresence(Left, q.room, false)
	}
	s.say(reply{Kind: "left", ID: q.id, Room: q.room})
	return nil
}

// depart leaves all rooms when the socket has ended.
func (s *socket) depart() {
	for room := range s.rooms {
		s.hub.room(room, -1)
		s.tellPresence(Left, room, false)
	}
	if s.greeted.Load() {
		s.tellPresence(Disconnected, "", false)
	}
}

// send writes a message into the stream of the workers, and waits until it is written.
func (s *socket) send(q *request) *fault {
	if q.room != "" {
		if _, is := s.rooms[q.room]; !is {
			return &fault{q.id, codeMember, "not in this room: join it first"}
		}
	}
	if f := s.authorize(q.id, Send, q.room); f != nil {
		return f
	}
	e := said{
		Event: Event[[]byte]{Kind: Said, User: s.who.User, Session: s.session, Room: q.room, Type: q.typ, Value: q.data,
			Socket: s.id},
	}
	if q.data == nil {
		e.Value = []byte("null")
	}
	if q.id != "" {
		e.id = s.session + "-" + q.id
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.hub.cfg.SendTimeout)
	defer cancel()
	if f := failure(q.id, s.life.inbox.Deliver(ctx, e)); f != nil {
		return f
	}
	s.hub.stats.said.Add(1)
	if q.id != "" {
		s.say(reply{Kind: "ack", ID: q.id})
	}
	return nil
}

// failure converts the error of a write into a fault. It returns nil if there is none.
func failure(id string, err error) *fault {
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
func (s *socket) tellPresence(what EventKind, room string, first bool) {
	if !s.hub.cfg.Presence {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), presenceTimeout)
	defer cancel()
	e := said{Event: Event[[]byte]{Kind: what, User: s.who.User, Session: s.session, Room: room, Socket: s.id,
		Resumed: s.resumed && (what == Connected || what == Joined && first)}}
	if err := s.life.inbox.Offer(ctx, e); err != nil {
		s.hub.cfg.Log.Warn("presence event lost", "hub", s.hub.name, "event", string(what), "error", err)
	}
}
