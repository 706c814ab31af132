package ws

import (
	"bytes"
	"context"
	"errors"
	"os"
	"sync"

	"github.com/coder/websocket"

	"github.com/streamerson/streamerson-go/gateways/internal/relay"
)

// flushAt is how many bytes are collected for one write.
const flushAt = 32 << 10

// frameWriter writes what a socket's outgoing and listener have.
type frameWriter struct {
	s      *socket
	buf    *bytes.Buffer
	pinged int64 // time of the ping in buf, or 0
	err    error // why a write failed
}

// write runs a frameWriter until there is nothing left to write.
func (s *socket) write() {
	w := frameWriter{s: s, buf: getBuffer()}
	defer putBuffer(w.buf)
	for {
		t, ok := s.out.next()
		if !ok {
			return
		}
		ok = w.addAll(&t)
		if t.bye != nil {
			if ok && w.flush() {
				_ = s.conn.Close(t.bye.code, t.bye.reason) // waits at most 5 s for the client's answer
			}
			s.kill(errGone)
			return // the writer stays marked as running, so no other one starts
		}
		if t.poll {
			ok = ok && w.writeDeliveries(&t)
			s.out.polled()
		}
		if !ok || !w.flush() {
			w.failed()
			return
		}
	}
}

// failed ends the socket after a write has failed: the client did not read, or is gone.
func (w *frameWriter) failed() {
	if !errors.Is(w.err, os.ErrDeadlineExceeded) {
		w.s.kill(errGone)
	} else if w.s.kill(errSlow) {
		w.s.blame(&w.s.hub.stats.slow)
	}
}

// addAll adds the frames and the ping of a turn.
func (w *frameWriter) addAll(t *turn) bool {
	for _, frame := range t.frames {
		if !w.add(frame) {
			return false
		}
	}
	if !t.ping {
		return true
	}
	ok := w.add(pingFrame)
	w.pinged = w.s.live.clock.now()
	return ok
}

// add collects a frame for the next write.
func (w *frameWriter) add(frame []byte) bool {
	if w.buf.Len()+len(frame) > flushAt && !w.flush() {
		return false
	}
	if len(frame) > flushAt {
		w.err = w.s.wire.send(frame)
		return w.err == nil
	}
	w.buf.Write(frame)
	return true
}

// flush writes the collected frames.
func (w *frameWriter) flush() bool {
	if w.buf.Len() == 0 {
		return true
	}
	w.err = w.s.wire.send(w.buf.Bytes())
	w.buf.Reset()
	if w.pinged != 0 && w.err == nil {
		w.s.live.asked.Store(w.pinged) // only now: a client cannot answer a ping before it is sent
		w.pinged = 0
	}
	return w.err == nil
}

// canceled is a cancelled context. With it Poll returns what is in memory, and does not query
// Redis.
var canceled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// poll returns what the listener has. ok is false if it has to be read from Redis first. Then it
// starts to read, and the writer polls again afterwards.
func (w *frameWriter) poll(l *relay.Listener[delivery], t *turn) (p polled, ok bool) {
	if t.read != nil {
		return *t.read, true
	}
	if p.batch, p.more, p.err = l.Poll(canceled); !errors.Is(p.err, context.Canceled) {
		return p, true
	}
	out := &w.s.out
	ctx := out.beginRead(t.tell)
	w.s.work.Go(func() {
		var p polled
		p.batch, p.more, p.err = l.Poll(ctx)
		out.endRead(&p)
	})
	return p, false
}

// writeDeliveries adds the items of the listener, and the cursor if the turn says so. It returns
// false if the client does not read.
func (w *frameWriter) writeDeliveries(t *turn) bool {
	s := w.s
	l := s.listener.Load()
	if l == nil {
		return true
	}
	p, ok := w.poll(l, t)
	if !ok {
		return true
	}
	if p.more {
		s.out.again()
	}
	b := &p.batch
	switch {
	case errors.Is(p.err, relay.ErrTooSlow):
		if s.finish(websocket.StatusTryAgainLater, "too slow: reconnect") {
			s.blame(&s.hub.stats.slow)
		}
		return true
	case p.err != nil:
		s.finish(websocket.StatusInternalError, "cannot read the message log")
		return true
	}
	cursor := ""
	if g := b.Gap; g != nil {
		missed := uint64(max(0, g.Missed))
		s.hub.stats.gaps.Add(1)
		s.hub.stats.dropped.Add(missed)
		f := reply{Kind: "gap", From: g.From, To: g.To, Missed: missed}
		if cursor = g.To; !w.add(f.frame()) {
			return false
		}
	}
	for i := range b.Items {
		if cursor = b.Items[i].Cursor; !w.add(b.Items[i].Value.frame) {
			return false
		}
	}
	if n := len(b.Items); n > 0 {
		s.hub.stats.delivered.Add(uint64(n))
	}
	if cursor == "" && t.tell && !p.more {
		if at := l.Cursor(); at != s.out.told {
			f := reply{Kind: "cursor", Cursor: at}
			if cursor = at; !w.add(f.frame()) {
				return false
			}
		}
	}
	if cursor != "" {
		s.out.told = cursor
	}
	return true
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func getBuffer() *bytes.Buffer { return buffers.Get().(*bytes.Buffer) }

func putBuffer(b *bytes.Buffer) {
	b.Reset()
	buffers.Put(b) // MaxMessage bounds it
}
