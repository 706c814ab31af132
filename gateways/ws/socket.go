package ws

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coder/websocket"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
)

// socket is a client's connection.
//
// Idea: one goroutine, the reader, reads frames and carries them out one after the other. While it
// waits it reads nothing, so the client waits too. A second goroutine, the writer, runs only while
// there is something to write: an idle socket costs one goroutine, two small buffers and no timer.
// A third one reads history from Redis while the client is behind, so that the writer does not wait
// for Redis. The hub's loop checks the liveness of all sockets.
//
// Locks: the relay's and its listener's before that of out, and that of out before that of calls. So
// no method of the listener is called with the last two held.
type socket struct {
	hub  *Hub
	run  *hubRun
	conn *websocket.Conn
	wire *wire

	ctx     context.Context // done when the socket has ended
	cancel  context.CancelCauseFunc
	work    sync.WaitGroup // the writer, reads of history, and calls
	release func()         // releases the socket's place

	in       incoming
	out      outgoing
	live     liveness
	calls    calls
	leaving  atomic.Bool                              // the process stops: no new work is accepted
	blamed   atomic.Bool                              // see blame
	listener atomic.Pointer[relay.Listener[delivery]] // set by the hello
}

func newSocket(h *Hub, run *hubRun, who gateways.Identity, release func()) *socket {
	s := &socket{hub: h, run: run, release: release}
	s.ctx, s.cancel = context.WithCancelCause(run.ctx)
	s.in = incoming{s: s, who: who}
	if h.cfg.Presence {
		s.in.id = newSession()
	}
	s.out.start, s.out.ctx = func() { s.work.Go(s.write) }, s.ctx
	s.live.begin(h.clock, h.cfg.PingEvery)
	return s
}

var (
	errGone = errors.New("ws: client disconnected")
	errDead = errors.New("ws: client does not answer")
	errSlow = errors.New("ws: client does not read")
)

// serve runs a socket from its handshake to its end.
func (s *socket) serve() {
	defer s.end()
	if s.in.run() {
		s.drain()
	}
}

// turnAway replaces serve for a socket that only reports a refusal. It discards the client's
// frames.
func (s *socket) turnAway(code websocket.StatusCode, reason string) {
	defer s.hub.releaseRefusal()
	defer s.end()
	s.finish(code, reason)
	s.drain()
}

// drain reads until the connection is closed, because the closing handshake needs a reader.
func (s *socket) drain() {
	for {
		_, r, err := s.conn.Reader(context.Background())
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			return
		}
	}
}

// end releases everything a socket has, after its client disconnected or was closed.
func (s *socket) end() {
	s.cancel(errGone)
	s.out.close()
	s.calls.close()
	_ = s.conn.CloseNow() // an error means that it is closed already
	s.work.Wait()
	if l := s.listener.Load(); l != nil {
		l.Close()
	}
	s.in.depart()
	s.hub.dismiss(s)
}

// reply queues a reply, see outgoing.put.
func (s *socket) reply(r reply) bool { return s.out.put(r.frame(), nil) }

// replyError queues an error frame, see outgoing.put.
func (s *socket) replyError(f *fault) bool {
	return s.reply(reply{Kind: "error", ID: f.id, Code: f.code, Message: f.message})
}

// finish closes the socket after the writer has written the waiting frames. It returns false if it
// has been called before.
func (s *socket) finish(code websocket.StatusCode, reason string) bool {
	return s.finishUnless(nil, code, reason)
}

// finishUnless is finish. It does nothing and returns false if the flag is set.
func (s *socket) finishUnless(flag *atomic.Bool, code websocket.StatusCode, reason string) bool {
	if !s.out.finish(&farewell{code, reason}, flag) {
		return false
	}
	s.calls.close()
	return true
}

// byeFrame and byeReason are sent to sockets when the process stops.
var byeFrame = (&reply{Kind: "bye", Code: codeClosing, Message: "server shutting down: reconnect"}).frame()

const byeReason = "going away"

// leave asks the client to reconnect, and closes the socket as soon as no request is in flight.
func (s *socket) leave() {
	if s.leaving.CompareAndSwap(false, true) {
		s.out.add(byeFrame)
	}
	if !s.live.busy.Load() { // otherwise the reader calls left
		s.left()
	}
}

// left closes a socket that is to leave and has no call in flight.
func (s *socket) left() {
	if s.leaving.Load() && s.calls.none() {
		s.finish(websocket.StatusGoingAway, byeReason)
	}
}

// kill disconnects a socket without a close frame. It returns false if the socket has ended
// already.
func (s *socket) kill(why error) bool {
	first := s.ctx.Err() == nil
	s.cancel(why)
	_ = s.wire.Close() // all reads and writes fail now
	return first
}

// checkLiveness closes a socket that is silent or too slow, and schedules its pings. If judge is
// false, the socket is given more time. The hub's loop calls it.
func (s *socket) checkLiveness(now int64, judge bool) {
	cfg := &s.hub.cfg
	if v := s.live.check(now, cfg); judge {
		s.obey(v)
	}
	if due, ping := s.live.beatDue(now, cfg.PingEvery); due {
		s.out.beat(ping, s.live.greeted.Load())
	}
}

// obey carries out a verdict.
func (s *socket) obey(v verdict) {
	stats := &s.hub.stats
	switch v {
	case closeNoHello: // unless the hello came since the verdict
		if s.finishUnless(&s.live.greeted, websocket.StatusPolicyViolation, "no hello") {
			s.blame(&stats.slow)
		}
	case killSlowFrame:
		if s.kill(errSlow) {
			s.blame(&stats.slow)
		}
	case killUnanswered:
		if s.kill(errDead) {
			s.blame(&stats.dead)
		}
	case closeIdle:
		s.finish(websocket.StatusGoingAway, "idle")
	}
}

// blame counts a socket that is closed because of its client, the first time only. A socket that is
// being closed may still be killed.
func (s *socket) blame(reason *atomic.Uint64) {
	if s.blamed.CompareAndSwap(false, true) {
		reason.Add(1)
	}
}

// is reports whether a target names the socket. Before the hello a socket has no session, and a
// guest has no known user.
func (s *socket) is(to Target) bool {
	greeted := s.live.greeted.Load()
	if user, is := strings.CutPrefix(string(to), userPrefix); is {
		return (greeted || s.hub.cfg.Authenticate != nil) && s.in.who.User == user
	}
	if session, is := strings.CutPrefix(string(to), sessionPrefix); is {
		return greeted && s.in.session == session
	}
	return to == All
}
