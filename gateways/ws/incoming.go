package ws

import (
	"bytes"
	"context"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/streamerson/streamerson-go/gateways"
)

// incoming reads the frames of a socket and carries them out. It is owned by the reading goroutine.
// The hello sets the session and its user. Other goroutines read these fields only after it.
type incoming struct {
	s       *socket
	who     gateways.Identity
	session string
	resumed bool
	id      string // of this socket, in presence events
	budget  *budget
	rooms   map[string]struct{}
	limit   *rate.Limiter // nil: no limit, or no frame yet
}

// run reads until the socket ends. drain is set if its connection is still open.
func (in *incoming) run() (drain bool) {
	live := &in.s.live
	for {
		frame, drain, ok := in.read()
		if !ok {
			return drain
		}
		live.busy.Store(true)
		ok = in.handle(frame.Bytes())
		live.busy.Store(false)
		in.s.left()
		live.heard() // the client's frames could not be read meanwhile
		putBuffer(frame)
		if !ok {
			return true
		}
	}
}

// read reads a frame. If ok is false the socket ends; drain is set if its connection is still open.
func (in *incoming) read() (frame *bytes.Buffer, drain, ok bool) {
	s := in.s
	// Without a context, which would be expensive: the hub's loop closes silent sockets.
	typ, body, err := s.conn.Reader(context.Background())
	if err != nil {
		return nil, false, false
	}
	s.live.frameBegan()
	frame = getBuffer()
	if _, err = frame.ReadFrom(body); err != nil { // a frame that is too large closes the socket with 1009
		putBuffer(frame)
		return nil, false, false
	}
	s.live.frameEnded()
	switch {
	case typ != websocket.MessageText:
		s.finish(websocket.StatusUnsupportedData, "only text frames are accepted")
	case !utf8.Valid(frame.Bytes()):
		s.finish(websocket.StatusInvalidFramePayloadData, "text frames must be UTF-8")
	default:
		return frame, false, true
	}
	putBuffer(frame)
	return nil, true, false
}

// handle carries out a frame of the client. It returns false when the socket has ended.
func (in *incoming) handle(frame []byte) bool {
	s := in.s
	s.hub.stats.received.Add(1)
	if !in.pace(len(frame)) {
		return false
	}
	q, wrong := parse(frame)
	if q.kind != kindPing {
		s.live.spoke.Store(s.live.clock.now())
	}
	switch {
	case wrong != nil:
		s.hub.stats.bad.Add(1)
	case !s.live.greeted.Load() && q.kind != kindHello:
		wrong = &fault{q.id, codeHello, "the first frame must be a hello"}
	case s.leaving.Load():
		wrong = &fault{q.id, codeClosing, "server shutting down: reconnect and send it again"}
	default:
		wrong = in.dispatch(&q)
	}
	return wrong == nil || s.replyError(wrong)
}

func (in *incoming) dispatch(q *request) *fault {
	switch q.kind {
	case kindHello:
		return in.hello(q)
	case kindJoin:
		return in.join(q)
	case kindLeave:
		return in.leave(q)
	case kindSend:
		return in.send(q)
	case kindCall:
		return in.call(q)
	case kindCancel:
		in.s.calls.cancel(q.id)
	case kindPing:
		in.s.reply(reply{Kind: "pong", ID: q.id})
	}
	return nil
}

// pace delays a client that sends more frames than its rate, or more bytes than its user may send.
// No further frame is read meanwhile. It returns false when the socket has ended.
func (in *incoming) pace(size int) bool {
	s, limited := in.s, false
	if !in.allow() {
		limited = true
		s.hub.stats.limited.Add(1)
		if in.limit.Wait(s.ctx) != nil {
			return false
		}
	}
	if b := in.budget; b != nil && !b.AllowN(time.Now(), size) {
		if !limited {
			s.hub.stats.limited.Add(1)
		}
		return b.WaitN(s.ctx, size) == nil
	}
	return true
}

func (in *incoming) allow() bool {
	cfg := &in.s.hub.cfg
	if cfg.Rate < 0 {
		return true
	}
	if in.limit == nil {
		in.limit = rate.NewLimiter(rate.Limit(cfg.Rate), cfg.Burst)
	}
	return in.limit.Allow()
}

// pinged answers WebSocket pings within the rate. A ping beyond the rate is not answered, and
// delays reading.
func (in *incoming) pinged(context.Context, []byte) bool {
	in.s.live.heard()
	return in.allowControl()
}

// ponged counts unsolicited pongs against the rate.
func (in *incoming) ponged(context.Context, []byte) {
	if !in.s.live.pong() {
		in.allowControl()
	}
}

// allowControl charges a control frame to the rate, and waits if the rate is exceeded. It reports
// whether it did not have to wait.
func (in *incoming) allowControl() bool {
	if in.allow() {
		return true
	}
	in.s.hub.stats.limited.Add(1)
	in.s.live.busy.Store(true) // this delay is not the client's silence
	_ = in.limit.Wait(in.s.ctx)
	in.s.live.resume()
	return false
}
