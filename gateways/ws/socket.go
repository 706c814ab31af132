package ws

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/streamerson/streamerson-go/gateways/internal/relay"
)

// socket is a client's connection.
//
// Idea: one goroutine reads, and does what the client asks, one thing after the other; while it
// waits nothing more is read, and so the client waits too. One more writes, and is there only while
// there is something to write: a socket that is quiet costs a goroutine, two small buffers and no
// timer. What is due (pings, limits of time) the hub's clock finds.
//
// Locks: the relay's and its listener's before mu, so nothing of the listener is called with mu held.
type socket struct {
	hub  *Hub
	life *life
	conn *websocket.Conn
	wire *wire

	ctx    context.Context // done when the socket is at its end
	cancel context.CancelCauseFunc
	work   sync.WaitGroup // the writer, and calls

	// Of the goroutine that reads; who and session are fixed by the hello.
	who     Identity
	session string
	resumed bool
	id      string // of this socket, in events of presence
	vacate  func() // gives back its place on the server
	budget  *budget
	rooms   map[string]struct{}
	limit   *rate.Limiter // nil: none, or nothing came yet

	answered int64 // the ping that the last pong was for

	// What the clock looks at, by its time; 0 is never.
	began   int64
	beat    int64        // when to ping, and to tell the cursor; of the clock alone
	silent  int64        // since when a ping is known to be unanswered; of the clock alone
	asked   atomic.Int64 // a ping that has been written was begun
	seen    atomic.Int64 // something came, pongs too
	spoke   atomic.Int64 // a frame came, other than a ping
	partial atomic.Int64 // since when a frame is coming in, or has been since the handshake a hello
	busy    atomic.Bool  // it is our turn: the client's frame is being worked on
	greeted atomic.Bool

	listener atomic.Pointer[relay.Listener[delivery]] // from the hello on

	mu      sync.Mutex
	control [][]byte // frames that wait, beside those of the listener
	size    int      // their bytes
	room    chan struct{}
	ping    bool // one is due
	tell    bool // the cursor is to be told
	woken   bool // the writer is to look again
	writing bool // there is a writer
	leaving bool // the process goes: nothing new is begun
	bye     *farewell
	over    bool // no writer and no call may begin
	calls   map[string]context.CancelCauseFunc
	behind  context.CancelFunc // interrupts the writer's wait for history; nil when it does not wait
	polling bool               // the writer looks at what the listener has
	hushed  bool               // it is not to
	quiet   chan struct{}      // closed when it does not; nil: nobody waits for that

	told string // the cursor as the client knows it; of the writer
}

// farewell is how a socket is closed.
type farewell struct {
	code   websocket.StatusCode
	reason string
}

// most of what may wait in control before those who cause it have to wait.
const (
	mostFrames = 64
	mostBytes  = 256 << 10
)

func newSocket(h *Hub, l *life, who Identity) *socket {
	s := &socket{hub: h, life: l, who: who, began: h.clock.now()}
	if h.cfg.Presence {
		s.id = newSession()
	}
	s.beat = s.began + int64(h.cfg.PingEvery)
	s.seen.Store(s.began)
	s.spoke.Store(s.began)
	s.partial.Store(s.began)
	s.ctx, s.cancel = context.WithCancelCause(l.ctx)
	return s
}

// errGone is the cause when a client has gone.
var errGone = errors.New("ws: the client has gone")

// live is a socket from its handshake to its end.
func (s *socket) live() {
	defer s.end()
	for {
		frame, ok := s.read()
		if !ok {
			return
		}
		s.busy.Store(true)
		ok = s.handle(frame.Bytes())
		s.busy.Store(false)
		s.left()
		s.seen.Store(s.hub.clock.now()) // it could not show signs of life meanwhile
		putBuffer(frame)
		if !ok {
			s.drain()
			return
		}
	}
}

// read reads a frame. ok is false when there will be no more.
func (s *socket) read() (frame *bytes.Buffer, ok bool) {
	typ, r, err := s.conn.Reader(context.Background()) // without a context, which costs: the clock ends it
	if err != nil {
		return nil, false
	}
	now := s.hub.clock.now()
	s.seen.Store(now)
	if s.greeted.Load() {
		s.partial.Store(now)
	}
	frame = getBuffer()
	if _, err = frame.ReadFrom(r); err != nil { // one that is too large closes it, with 1009
		putBuffer(frame)
		return nil, false
	}
	if s.greeted.Load() {
		s.partial.Store(0)
	}
	switch {
	case typ != websocket.MessageText:
		s.finish(websocket.StatusUnsupportedData, "frames are text")
	case !utf8.Valid(frame.Bytes()):
		s.finish(websocket.StatusInvalidFramePayloadData, "frames are UTF-8")
	default:
		return frame, true
	}
	putBuffer(frame)
	s.drain()
	return nil, false
}

// drain reads until the connection is closed, for the leave-taking needs a reader.
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

// end takes a socket down, when its client has gone or was sent away.
func (s *socket) end() {
	s.cancel(errGone)
	s.mu.Lock()
	s.over = true
	if s.behind != nil {
		s.behind()
	}
	s.release()
	s.mu.Unlock()
	_ = s.conn.CloseNow() // it is closed, or the client has gone
	s.work.Wait()
	if l := s.listener.Load(); l != nil {
		l.Close()
	}
	s.depart()
	s.hub.unspend(s.who.User, s.budget)
	s.hub.dismiss(s)
}

// finish says last things, and closes the socket. The writer does it, when it has written what was
// there before. It reports false if that was asked for already.
func (s *socket) finish(code websocket.StatusCode, reason string, last ...[]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bye != nil {
		return false
	}
	s.control = append(s.control, last...)
	s.bye = &farewell{code, reason}
	s.stir()
	return true
}

// leave tells a client to reconnect, and closes the socket as soon as nothing is under way for it.
func (s *socket) leave() {
	s.mu.Lock()
	if s.bye == nil && !s.leaving {
		s.leaving = true
		s.control = append(s.control, byeFrame)
		s.stir()
	}
	s.mu.Unlock()
	if !s.busy.Load() { // else it looks when it is done
		s.left()
	}
}

// left closes a socket that is to leave and has no call in flight.
func (s *socket) left() {
	s.mu.Lock()
	done := s.leaving && len(s.calls) == 0
	s.mu.Unlock()
	if done {
		s.finish(websocket.StatusGoingAway, byeReason)
	}
}

// kill ends a socket that does not answer. It reports false if it has ended already.
func (s *socket) kill(why error) bool {
	first := s.ctx.Err() == nil
	s.cancel(why)
	_ = s.wire.Close() // all that reads and writes fails now
	return first
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func getBuffer() *bytes.Buffer { return buffers.Get().(*bytes.Buffer) }

func putBuffer(b *bytes.Buffer) {
	b.Reset()
	buffers.Put(b) // MaxMessage bounds it
}
