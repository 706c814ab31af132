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
// Idea: one goroutine reads frames and carries them out one after the other. While it waits it
// reads nothing, so the client waits too. A second goroutine writes, and runs only while there is
// something to write: an idle socket costs one goroutine, two small buffers and no timer. The hub's
// clock handles pings and timeouts.
//
// Locks: the relay's and its listener's before mu, so no method of the listener is called with mu
// held.
type socket struct {
	hub  *Hub
	life *life
	conn *websocket.Conn
	wire *wire

	ctx    context.Context // done when the socket is at its end
	cancel context.CancelCauseFunc
	work   sync.WaitGroup // the writer and calls

	// Owned by the reading goroutine. The hello fixes who and session.
	who     Identity
	session string
	resumed bool
	id      string // of this socket, in presence events
	vacate  func() // releases its place on the server
	budget  *budget
	rooms   map[string]struct{}
	limit   *rate.Limiter // nil: no limit, or no frame yet

	answered int64 // ping that the last pong answered

	// Read by the clock, in its time; 0 is never.
	began   int64
	beat    int64        // when to ping and to send the cursor; owned by the clock
	silent  int64        // since when a ping is known to be unanswered; owned by the clock
	asked   atomic.Int64 // when the last written ping was created
	seen    atomic.Int64 // last frame, pongs included
	spoke   atomic.Int64 // last frame, pings excluded
	partial atomic.Int64 // start of the frame being read; before the hello, start of the socket
	busy    atomic.Bool  // a frame of the client is being processed
	greeted atomic.Bool

	listener atomic.Pointer[relay.Listener[delivery]] // set by the hello

	mu      sync.Mutex
	control [][]byte // waiting frames, besides those of the listener
	size    int      // their bytes
	room    chan struct{}
	ping    bool // a ping is due
	tell    bool // the cursor is to be sent
	woken   bool // the writer must check again
	writing bool // the writer is running
	leaving bool // the process stops: no new work is accepted
	bye     *farewell
	over    bool // no writer and no call may start
	calls   map[string]context.CancelCauseFunc
	behind  context.CancelFunc // interrupts the writer's wait for history; nil when it does not wait
	polling bool               // the writer is polling the listener
	hushed  bool               // the writer must not poll the listener
	quiet   chan struct{}      // closed when the poll is done; nil if hush does not wait

	told string // last cursor sent to the client; owned by the writer
}

// farewell is the close code and reason of a socket.
type farewell struct {
	code   websocket.StatusCode
	reason string
}

// Limits of the waiting frames in control. Beyond them put blocks.
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

// errGone is the cause when a client has disconnected.
var errGone = errors.New("ws: client disconnected")

// live runs a socket from its handshake to its end.
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
		s.seen.Store(s.hub.clock.now()) // the client's frames could not be read meanwhile
		putBuffer(frame)
		if !ok {
			s.drain()
			return
		}
	}
}

// read reads a frame. ok is false when the socket has ended.
func (s *socket) read() (frame *bytes.Buffer, ok bool) {
	// Without a context, which would be expensive: the clock closes silent sockets.
	typ, r, err := s.conn.Reader(context.Background())
	if err != nil {
		return nil, false
	}
	now := s.hub.clock.now()
	s.seen.Store(now)
	if s.greeted.Load() {
		s.partial.Store(now)
	}
	frame = getBuffer()
	if _, err = frame.ReadFrom(r); err != nil { // a frame that is too large closes the socket with 1009
		putBuffer(frame)
		return nil, false
	}
	if s.greeted.Load() {
		s.partial.Store(0)
	}
	switch {
	case typ != websocket.MessageText:
		s.finish(websocket.StatusUnsupportedData, "only text frames are accepted")
	case !utf8.Valid(frame.Bytes()):
		s.finish(websocket.StatusInvalidFramePayloadData, "text frames must be UTF-8")
	default:
		return frame, true
	}
	putBuffer(frame)
	s.drain()
	return nil, false
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
	s.mu.Lock()
	s.over = true
	if s.behind != nil {
		s.behind()
	}
	s.release()
	s.mu.Unlock()
	_ = s.conn.CloseNow() // an error means that it is closed already
	s.work.Wait()
	if l := s.listener.Load(); l != nil {
		l.Close()
	}
	s.depart()
	s.hub.unspend(s.who.User, s.budget)
	s.hub.dismiss(s)
}

// finish sends the frames last and closes the socket. The writer does this after it has written the
// waiting frames. finish returns false if it has been called before.
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

// leave tells the client to reconnect, and closes the socket as soon as no request is in flight.
func (s *socket) leave() {
	s.mu.Lock()
	if s.bye == nil && !s.leaving {
		s.leaving = true
		s.control = append(s.control, byeFrame)
		s.stir()
	}
	s.mu.Unlock()
	if !s.busy.Load() { // otherwise live calls left
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

// kill disconnects a socket without a close frame. It returns false if the socket has ended
// already.
func (s *socket) kill(why error) bool {
	first := s.ctx.Err() == nil
	s.cancel(why)
	_ = s.wire.Close() // all reads and writes fail now
	return first
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func getBuffer() *bytes.Buffer { return buffers.Get().(*bytes.Buffer) }

func putBuffer(b *bytes.Buffer) {
	b.Reset()
	buffers.Put(b) // MaxMessage bounds it
}
