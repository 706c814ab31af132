package ws

import (
	"context"
	"errors"

	"github.com/coder/websocket"

	"github.com/streamerson/streamerson-go/gateways/internal/relay"
)

// put queues a frame for the writer. It blocks while too many frames wait, and returns false if the
// socket has ended.
func (s *socket) put(frame []byte) bool {
	for {
		s.mu.Lock()
		if s.over || s.bye != nil {
			s.mu.Unlock()
			return false
		}
		if len(s.control) == 0 || len(s.control) < mostFrames && s.size+len(frame) <= mostBytes {
			s.control = append(s.control, frame)
			s.size += len(frame)
			s.stir()
			s.mu.Unlock()
			return true
		}
		if s.room == nil {
			s.room = make(chan struct{})
		}
		room := s.room
		s.mu.Unlock()
		select {
		case <-room:
		case <-s.ctx.Done():
			return false
		}
	}
}

// say queues a reply, see put.
func (s *socket) say(r reply) bool { return s.put(r.frame()) }

// sorry queues an error frame, see put.
func (s *socket) sorry(f *fault) bool {
	return s.say(reply{Kind: "error", ID: f.id, Code: f.code, Message: f.message})
}

// wake wakes the writer. The listener calls it, under its locks, when it has something.
func (s *socket) wake() {
	s.mu.Lock()
	s.stir()
	s.mu.Unlock()
}

// stir wakes the writer, or starts it. The caller holds mu.
func (s *socket) stir() {
	s.woken = true
	if s.behind != nil && (len(s.control) > 0 || s.ping || s.bye != nil) {
		s.behind()
	}
	if !s.writing && !s.over {
		s.writing = true
		s.work.Go(s.write)
	}
}

// release wakes the callers of put that wait for room. The caller holds mu.
func (s *socket) release() {
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
}

// flushAt is how many bytes are collected for one write.
const flushAt = 32 << 10

// write is the writer. It returns when there is nothing left to write.
func (s *socket) write() {
	out := getBuffer()
	defer putBuffer(out)
	var pinged int64 // time of the ping in out, or 0
	flush := func() bool {
		if out.Len() == 0 {
			return true
		}
		err := s.wire.send(out.Bytes())
		out.Reset()
		if pinged != 0 && err == nil {
			s.asked.Store(pinged) // only now: a client cannot answer a ping before it is sent
			pinged = 0
		}
		return err == nil
	}
	add := func(frame []byte) bool {
		if out.Len()+len(frame) > flushAt && !flush() {
			return false
		}
		if len(frame) > flushAt {
			return s.wire.send(frame) == nil
		}
		out.Write(frame)
		return true
	}
	for {
		s.mu.Lock()
		control, ping, tell, bye := s.control, s.ping, s.tell, s.bye
		if len(control) == 0 && !ping && !tell && bye == nil && !s.woken || s.over {
			s.writing = false
			s.mu.Unlock()
			return
		}
		s.control, s.size, s.ping, s.tell, s.woken = nil, 0, false, false, false
		s.polling = !s.hushed && bye == nil
		news := s.polling
		s.release()
		s.mu.Unlock()
		ok := true
		for _, frame := range control {
			ok = ok && add(frame)
		}
		if ping {
			ok = ok && add(pingFrame)
			pinged = s.hub.clock.now()
		}
		if bye != nil {
			if ok && flush() {
				_ = s.conn.Close(bye.code, bye.reason) // waits at most 5 s for the client's answer
			}
			s.kill(errGone)
			return // writing stays set, so that no other writer starts
		}
		if l := s.listener.Load(); ok && l != nil && news {
			ok = s.news(l, tell, add, flush)
		}
		if news {
			s.polled()
		}
		if !ok || !flush() {
			if s.kill(errSlow) {
				s.hub.stats.slow.Add(1)
			}
			return
		}
	}
}

// errSlow is the cause when a client does not read what was sent to it.
var errSlow = errors.New("ws: client does not read")

// done is a cancelled context. With it Poll returns what is in memory, and does not query Redis.
var done = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// poll returns what the listener has. again is true if the poll was interrupted because another
// frame is to be written.
func (s *socket) poll(
	l *relay.Listener[delivery],
	flush func() bool,
) (b relay.Batch[delivery], more, again bool, err error) {
	if b, more, err = l.Poll(done); !errors.Is(err, context.Canceled) {
		return b, more, false, err
	}
	if !flush() { // frames that are ready do not wait for Redis
		return b, false, false, errSlow
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.mu.Lock()
	s.behind = cancel
	if len(s.control) > 0 || s.ping || s.bye != nil || s.over {
		cancel()
	}
	s.mu.Unlock()
	b, more, err = l.Poll(ctx)
	s.mu.Lock()
	s.behind = nil
	s.mu.Unlock()
	return b, more, err != nil && ctx.Err() != nil, err
}

// news writes what the listener has.
func (s *socket) news(l *relay.Listener[delivery], tell bool, add func([]byte) bool, flush func() bool) bool {
	b, more, again, err := s.poll(l, flush)
	if more || again || tell && err != nil {
		s.mu.Lock()
		s.woken, s.tell = s.woken || more || again, s.tell || tell && err != nil
		s.mu.Unlock()
	}
	switch {
	case again:
		return true
	case err == errSlow:
		return false
	case errors.Is(err, relay.ErrTooSlow):
		if s.finish(websocket.StatusTryAgainLater, "too slow: reconnect") {
			s.hub.stats.slow.Add(1)
		}
		return true
	case err != nil:
		s.finish(websocket.StatusInternalError, "cannot read the message log")
		return true
	}
	cursor := ""
	if g := b.Gap; g != nil {
		missed := uint64(max(0, g.Missed))
		s.hub.stats.gaps.Add(1)
		s.hub.stats.dropped.Add(missed)
		f := reply{Kind: "gap", From: g.From, To: g.To, Missed: missed}
		if cursor = g.To; !add(f.frame()) {
			return false
		}
	}
	for i := range b.Items {
		if cursor = b.Items[i].Cursor; !add(b.Items[i].Value.frame) {
			return false
		}
	}
	if n := len(b.Items); n > 0 {
		s.hub.stats.delivered.Add(uint64(n))
	}
	if cursor == "" && tell && !more {
		if at := l.Cursor(); at != s.told {
			f := reply{Kind: "cursor", Cursor: at}
			if cursor = at; !add(f.frame()) {
				return false
			}
		}
	}
	if cursor != "" {
		s.told = cursor
	}
	return true
}
