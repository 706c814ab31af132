package ws

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/coder/websocket"

	"github.com/streamerson/streamerson-go/gateways/internal/relay"
)

// outgoing holds what the writer of a socket has to write, except for the items of the listener.
type outgoing struct {
	start func()          // starts the writer
	ctx   context.Context // of the socket

	mu      sync.Mutex
	frames  [][]byte
	size    int           // bytes of frames
	room    chan struct{} // closed when there is room for more frames; nil if no caller waits
	ping    bool          // a ping is due
	tell    bool          // the cursor is to be sent
	woken   bool          // the writer must check again
	writing bool          // the writer is running
	bye     *farewell
	over    bool // the writer must not start
	poll    pollState

	told string // last cursor sent to the client; owned by the writer
}

// pollState is the state of the writer's poll of the listener.
//
// Idea: the writer takes only what is in memory. If history has to be read, another goroutine polls,
// at most one at a time. Meanwhile the writer writes frames and pings, and does not poll.
type pollState struct {
	running bool
	paused  bool               // the writer must not poll
	idle    chan struct{}      // closed when the poll has ended; nil if pause does not wait
	stop    context.CancelFunc // stops the poll that reads history; nil if there is none
	read    *polled            // its result, until the writer polls
}

// polled is the result of a poll of the listener.
type polled struct {
	batch relay.Batch[delivery]
	more  bool
	err   error
}

// farewell is the close code and reason of a socket.
type farewell struct {
	code   websocket.StatusCode
	reason string
}

// Limits of the waiting frames. Beyond them put blocks.
const (
	mostFrames = 64
	mostBytes  = 256 << 10
)

// put queues a frame for the writer. Before the writer can take it, put calls queued, if it is not
// nil, with mu held. put blocks while too many frames wait. It returns false if the socket has ended.
func (o *outgoing) put(frame []byte, queued func()) bool {
	for {
		o.mu.Lock()
		if o.over || o.bye != nil {
			o.mu.Unlock()
			return false
		}
		if len(o.frames) == 0 || len(o.frames) < mostFrames && o.size+len(frame) <= mostBytes {
			o.frames = append(o.frames, frame)
			o.size += len(frame)
			if queued != nil {
				queued()
			}
			o.wakeLocked()
			o.mu.Unlock()
			return true
		}
		if o.room == nil {
			o.room = make(chan struct{})
		}
		room := o.room
		o.mu.Unlock()
		select {
		case <-room:
		case <-o.ctx.Done():
			return false
		}
	}
}

// add queues a frame without a limit, unless the socket is about to be closed.
func (o *outgoing) add(frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bye == nil {
		o.frames = append(o.frames, frame)
		o.wakeLocked()
	}
}

// beat schedules a ping and the cursor.
func (o *outgoing) beat(ping, tell bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ping, o.tell = ping, tell
	o.wakeLocked()
}

// finish closes the socket after the waiting frames. It returns false if it has been called before,
// or if unless is set.
func (o *outgoing) finish(bye *farewell, unless *atomic.Bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bye != nil || unless != nil && unless.Load() {
		return false
	}
	o.bye = bye
	o.wakeLocked()
	return true
}

// close stops the writer. Frames that still wait are not written.
func (o *outgoing) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
	if o.poll.stop != nil {
		o.poll.stop()
	}
	o.releaseLocked()
}

// wake wakes the writer. The listener calls it, under its locks, when it has something.
func (o *outgoing) wake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wakeLocked()
}

// wakeLocked wakes the writer, or starts it. The caller holds mu.
func (o *outgoing) wakeLocked() {
	o.woken = true
	if !o.writing && o.due() {
		o.writing = true
		o.start()
	}
}

// due reports whether the writer has something to do now. The caller holds mu.
func (o *outgoing) due() bool {
	urgent := len(o.frames) > 0 || o.ping || o.bye != nil // does not wait for history to be read
	return !o.over && (urgent || (o.tell || o.woken) && o.poll.stop == nil)
}

// releaseLocked wakes the callers of put that wait for room. The caller holds mu.
func (o *outgoing) releaseLocked() {
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}

// turn is what the writer has to do next.
type turn struct {
	frames [][]byte
	ping   bool
	tell   bool // send the cursor
	poll   bool // poll the listener, then call polled
	read   *polled
	bye    *farewell
}

// next returns what to write. ok is false if there is nothing: then the writer must return.
func (o *outgoing) next() (t turn, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.due() {
		o.writing = false
		return t, false
	}
	t = turn{frames: o.frames, ping: o.ping, bye: o.bye}
	o.frames, o.size, o.ping = nil, 0, false
	if o.poll.stop == nil {
		t.tell, o.tell, o.woken = o.tell, false, false
		t.poll = !o.poll.paused && o.bye == nil
	}
	if t.poll {
		t.read, o.poll.read = o.poll.read, nil
	}
	o.poll.running = t.poll
	o.releaseLocked()
	return t, true
}

// again makes the writer poll again.
func (o *outgoing) again() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.woken = true
}

// beginRead marks the start of a poll that reads history, and returns its context. If tell is set,
// the cursor is sent after it.
func (o *outgoing) beginRead(tell bool) context.Context {
	ctx, stop := context.WithCancel(context.Background())
	o.mu.Lock()
	defer o.mu.Unlock()
	o.poll.stop = stop
	o.tell = o.tell || tell
	if o.over {
		stop()
	}
	return ctx
}

// endRead passes the result of the poll to the writer.
func (o *outgoing) endRead(p *polled) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.poll.stop()
	o.poll.stop, o.poll.read = nil, p
	o.wakeLocked()
}

// pause stops the writer from polling the listener until unpause. It waits until the writer's poll
// has ended. A poll that reads history may go on, because its result waits for the writer.
func (o *outgoing) pause(ctx context.Context) {
	o.mu.Lock()
	o.poll.paused = true
	var idle chan struct{}
	if o.poll.running {
		idle = make(chan struct{})
		o.poll.idle = idle
	}
	o.mu.Unlock()
	if idle != nil {
		select {
		case <-idle:
		case <-ctx.Done():
		}
	}
}

func (o *outgoing) unpause() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.poll.paused = false
	o.wakeLocked()
}

// polled marks the end of the writer's poll.
func (o *outgoing) polled() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.poll.running = false
	if o.poll.idle != nil {
		close(o.poll.idle)
		o.poll.idle = nil
	}
}
