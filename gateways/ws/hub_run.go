package ws

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// checkEvery is how often the hub checks its sockets, and so the resolution of their timeouts.
const checkEvery = time.Second

// hubRun is a running hub. It accepts sockets, checks them at each tick, and closes them.
//
// Events of sockets go through a graph of their own, because it has to outlive the sockets: when
// the hub's graph ends, it stops all its sources at once, and a socket may still have a message to
// write then.
type hubRun struct {
	hub    *Hub
	ctx    context.Context // parent of the sockets' contexts; done when the hub ends
	cancel context.CancelCauseFunc
	seal   *sealer
	inbox  *source.Inbox[inboxEvent]
	work   sync.WaitGroup // sockets, and requests being upgraded; added to only while open
	open   bool           // guarded by Hub.mu

	unshared atomic.Bool // the last attempt to share the secret failed

	// Owned by the hub's loop.
	writes *flow.Running             // the graph that writes the inbox
	ends   *relay.Listener[delivery] // orders of Disconnect
	round  []*socket
}

// inboxEvent is an event of a socket on its way to the stream of the workers.
type inboxEvent struct {
	Event[[]byte]
	id string // of the message; "" if the client sent none
}

// inboxSize is how many events of sockets may wait to be written. Each socket has at most one,
// presence events aside.
const inboxSize = 1024

var errRunning = errors.New("ws: hub is already running: run one graph of it at a time")

// Open starts to accept sockets.
func (r *hubRun) Open(ctx context.Context) (err error) {
	h := r.hub
	if r.seal, err = r.loadSecret(ctx); err != nil {
		return err
	}
	o := relay.Options{Topics: []string{topicEnd}, Overflow: relay.DropOldest}
	if r.ends, err = h.relay.Listen(ctx, o); err != nil {
		return flow.Permanent(err)
	}
	if err := r.openInbox(ctx); err != nil {
		return flow.Permanent(err)
	}
	r.ctx, r.cancel = context.WithCancelCause(context.WithoutCancel(ctx)) // ended by Close
	r.open = true
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running != nil {
		return flow.Permanent(errRunning)
	}
	h.running = r
	return nil
}

// openInbox starts the graph that writes the events of sockets.
func (r *hubRun) openInbox(ctx context.Context) (err error) {
	h := r.hub
	out := sink.StreamConfig[inboxEvent]{
		Key:    h.keys.in,
		Format: inboxFormat{},
		MaxLen: h.cfg.MaxLen,
		Tuning: h.cfg.inboxTuning(),
		Wait:   h.cfg.Wait,
	}
	if h.cfg.DedupeWindow > 0 {
		out.DedupeWindow = h.cfg.DedupeWindow
		out.IDFor = func(m flow.Message[inboxEvent]) string { return m.Value.id }
	}
	from, inbox := source.Queue[inboxEvent](inboxSize, flow.Name("said"))
	r.inbox = inbox
	g := flow.New("inbox of "+h.name, flow.To(from, sink.Stream(h.rdb, out, flow.Name("in"))), flow.Log(h.cfg.Log))
	r.writes, err = g.Start(context.WithoutCancel(ctx))
	return err
}

// loadSecret loads the secret of the sessions, retrying until Redis is available or the hub's Wait
// is over.
func (r *hubRun) loadSecret(ctx context.Context) (*sealer, error) {
	h := r.hub
	seal := newSealer(h.rdb, h.name, h.keys.seal, h.cfg.Secrets)
	until := time.Now().Add(h.cfg.Wait)
	for {
		err := seal.share(ctx)
		if err == nil {
			return seal, nil
		}
		if flow.IsPermanent(err) || redisio.IsPermanent(err) || time.Now().After(until) {
			return nil, flow.Permanent(err)
		}
		if slept := flow.Sleep(ctx, 200*time.Millisecond); slept != nil {
			return nil, errors.Join(slept, err)
		}
	}
}

// shareTimeout limits each attempt to keep the secret in Redis.
const shareTimeout = 5 * time.Second

// shareSecret keeps the secret of the sessions in Redis. While that fails the process continues
// with the secret it has.
func (h *Hub) shareSecret(ctx context.Context) {
	h.mu.Lock()
	r := h.running
	h.mu.Unlock()
	if r == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	err := r.seal.share(ctx)
	if failed := err != nil; r.unshared.Swap(failed) != failed && failed && ctx.Err() == nil {
		h.cfg.Log.Warn("cannot keep the session secret in Redis, will retry", "hub", h.name, "error", err)
	}
}

// Write checks the sockets.
func (r *hubRun) Write(ctx context.Context, _ []flow.Message[time.Time]) error {
	r.disconnect(ctx)
	now, judge := r.hub.clock.tick()
	for _, s := range r.sockets() {
		s.checkLiveness(now, judge)
	}
	clear(r.round)
	r.hub.budgets.sweep()
	return nil
}

func (r *hubRun) sockets() []*socket {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	r.round = r.round[:0]
	for s := range r.hub.sockets {
		r.round = append(r.round, s)
	}
	return r.round
}

// disconnect closes the sockets that orders of Disconnect name.
func (r *hubRun) disconnect(ctx context.Context) {
	for more := true; more; {
		b, again, err := r.ends.Poll(canceled)
		if errors.Is(err, context.Canceled) { // Poll has to query Redis
			ctx, cancel := context.WithTimeout(ctx, checkEvery/10)
			b, again, err = r.ends.Poll(ctx)
			cancel()
		}
		if err != nil {
			return // retried at the next tick; a log that cannot be read ends the hub
		}
		for i := range b.Items {
			o := b.Items[i].Value.order
			for _, s := range r.sockets() {
				if s.is(o.to) {
					s.finish(websocket.StatusPolicyViolation, o.reason)
				}
			}
		}
		more = again
	}
}

// Flush ends the hub. It tells the sockets to reconnect, and closes each one when it has no call or
// message in flight. After three quarters of CloseTimeout the rest is cancelled, early enough for
// clients to be told.
func (r *hubRun) Flush(ctx context.Context) error {
	r.shut()
	limit := r.hub.cfg.CloseTimeout
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	enough := time.AfterFunc(limit*3/4, func() { r.cancel(errClosing) })
	defer enough.Stop()
	for _, s := range r.sockets() {
		s.leave()
	}
	return r.wait(ctx)
}

// errClosing is the cause when the hub ends.
var errClosing = errors.New("ws: hub is stopping")

// shut stops accepting sockets.
func (r *hubRun) shut() {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	r.open = false
}

// wait waits until all sockets have ended. When ctx is done, it kills those that are left.
func (r *hubRun) wait(ctx context.Context) error {
	gone := flow.Aside(func() error { r.work.Wait(); return nil })
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	r.cancel(context.Cause(ctx))
	for _, s := range r.sockets() {
		s.kill(context.Cause(ctx))
	}
	return <-gone
}

// Close ends the sockets that Flush has not ended, and writes the last events.
func (r *hubRun) Close(ctx context.Context) error {
	if r.ends != nil {
		r.ends.Close()
	}
	if r.ctx == nil {
		return nil
	}
	r.shut()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_ = r.wait(ended) // after a Flush there is no socket left
	r.inbox.Close()
	select {
	case <-r.writes.Done(): // everything was written
	case <-ctx.Done():
	}
	_, err := r.writes.Drain(ctx)
	r.cancel(nil)
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	if r.hub.running == r {
		r.hub.running = nil
	}
	return err
}
