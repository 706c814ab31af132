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

// hubRun is the state of a running hub.
//
// Events of sockets pass through a separate graph, because it has to outlive the sockets. When the
// hub's graph ends, it stops all its sources at once, but a socket may still have a message to
// write.
type hubRun struct {
	hub    *Hub
	ctx    context.Context // parent of the sockets' contexts; done when the hub has ended
	cancel context.CancelCauseFunc
	seal   *sealer
	inbox  *source.Inbox[inboxEvent]
	work   sync.WaitGroup // sockets, and requests being upgraded; added to only while it accepts sockets

	accepts bool // guarded by Hub.mu

	unshared atomic.Bool // the last attempt to share the secret failed

	// Owned by the hub's loop.
	writes *flow.Running             // the graph that writes the inbox
	ends   *relay.Listener[delivery] // orders of Disconnect
	orders sync.WaitGroup            // the goroutine that obeys them
	round  []*socket
}

// inboxEvent is an event of a socket on its way to the stream of the workers.
type inboxEvent struct {
	Event[[]byte]
	id    string       // of the message; "" if the client sent none
	trace flow.Headers // that it belongs to; may be nil
}

// inboxSize is how many events of sockets may wait to be written. Each socket has at most one,
// presence events aside.
const inboxSize = 1024

var errRunning = errors.New("ws: hub is already running: run one graph of it at a time")

// run is the hub's loop: it accepts sockets, checks them every checkEvery, and closes them when stop
// is closed.
func (h *Hub) run(ctx context.Context, stop <-chan struct{}) error {
	r := &hubRun{hub: h}
	defer r.close(ctx)
	if err := r.open(ctx, stop); err != nil {
		return err
	}
	r.orders.Go(func() { r.disconnect(ctx) }) // not in this loop, because it may wait for Redis
	ticks := time.NewTicker(checkEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			r.check()
		case <-stop:
			r.dismiss(ctx)
			return nil
		}
	}
}

// open starts to accept sockets.
func (r *hubRun) open(ctx context.Context, stop <-chan struct{}) (err error) {
	h := r.hub
	if r.seal, err = r.loadSecret(ctx, stop); err != nil {
		return err
	}
	o := relay.Options{Topics: []string{topicEnd}, Overflow: relay.DropOldest}
	if r.ends, err = h.relay.Listen(ctx, o); err != nil {
		return flow.Permanent(err)
	}
	if err := r.openInbox(ctx); err != nil {
		return flow.Permanent(err)
	}
	r.ctx, r.cancel = context.WithCancelCause(context.WithoutCancel(ctx)) // ended by close
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running != nil {
		return flow.Permanent(errRunning)
	}
	h.running, r.accepts = r, true
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

		HeadersFor: func(m flow.Message[inboxEvent]) flow.Headers { return m.Value.trace },
	}
	if h.cfg.DedupeWindow > 0 {
		out.DedupeWindow = h.cfg.DedupeWindow
		out.IDFor = func(m flow.Message[inboxEvent]) string { return m.Value.id }
	}
	untraced := flow.Traits{Untraced: true} // the sockets make the spans
	from, inbox := source.Queue[inboxEvent](inboxSize, flow.Name("said"), untraced)
	r.inbox = inbox
	to := sink.Stream(h.rdb, out, flow.Name("in"), untraced)
	g := flow.New("inbox of "+h.name, flow.To(from, to), flow.Log(h.cfg.Log))
	r.writes, err = g.Start(context.WithoutCancel(ctx))
	return err
}

// loadSecret loads the secret of the sessions, retrying until Redis is available or the hub's Wait
// is over.
func (r *hubRun) loadSecret(ctx context.Context, stop <-chan struct{}) (*sealer, error) {
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
		select {
		case <-time.After(200 * time.Millisecond):
		case <-stop:
			return nil, err
		}
	}
}

// shareTimeout limits each attempt to keep the secret in Redis.
const shareTimeout = 5 * time.Second

// shareSecret keeps the secret of the sessions in Redis. While that fails the process continues
// with the secret it has.
func (h *Hub) shareSecret(ctx context.Context, _ time.Time) error {
	h.mu.Lock()
	r := h.running
	h.mu.Unlock()
	if r == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	err := r.seal.share(ctx)
	if failed := err != nil; r.unshared.Swap(failed) != failed && failed && ctx.Err() == nil {
		h.cfg.Log.Warn("cannot keep the session secret in Redis, will retry", "hub", h.name, "error", err)
	}
	return nil
}

// check checks all sockets.
func (r *hubRun) check() {
	now, judge := r.hub.clock.tick()
	r.round = r.sockets(r.round[:0])
	for _, s := range r.round {
		s.checkLiveness(now, judge)
	}
	clear(r.round)
	r.hub.budgets.sweep()
}

// sockets appends the sockets of the hub to list.
func (r *hubRun) sockets(list []*socket) []*socket {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	for s := range r.hub.sockets {
		list = append(list, s)
	}
	return list
}

// disconnect closes the sockets that orders of Disconnect name, until close.
func (r *hubRun) disconnect(ctx context.Context) {
	for {
		b, err := r.ends.Next(ctx)
		if err != nil {
			return // a log that cannot be read ends the hub
		}
		for i := range b.Items {
			o := b.Items[i].Value.order
			for _, s := range r.sockets(nil) {
				if s.is(o.to) {
					s.finish(websocket.StatusPolicyViolation, o.reason)
				}
			}
		}
	}
}

// dismiss asks the sockets to reconnect, and closes each one when it has no call or message in
// flight. After three quarters of CloseTimeout it cancels the rest, early enough to notify the
// clients.
func (r *hubRun) dismiss(ctx context.Context) {
	r.shut()
	limit := r.hub.cfg.CloseTimeout
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	enough := time.AfterFunc(limit*3/4, func() { r.cancel(errClosing) })
	defer enough.Stop()
	for _, s := range r.sockets(nil) {
		s.leave()
	}
	r.wait(ctx)
}

// errClosing is the cause when the hub ends.
var errClosing = errors.New("ws: hub is stopping")

// shut stops accepting sockets.
func (r *hubRun) shut() {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	r.accepts = false
}

// wait waits until all sockets have ended. When ctx is done, it kills those that are left.
func (r *hubRun) wait(ctx context.Context) {
	gone := flow.Aside(func() error { r.work.Wait(); return nil })
	select {
	case <-gone:
		return
	case <-ctx.Done():
	}
	r.cancel(context.Cause(ctx))
	for _, s := range r.sockets(nil) {
		s.kill(context.Cause(ctx))
	}
	<-gone
}

// close ends the sockets that dismiss has not ended, and writes the last events for up to
// CloseTimeout.
func (r *hubRun) close(ctx context.Context) {
	if r.ends != nil {
		defer r.orders.Wait()
		r.ends.Close()
	}
	if r.ctx == nil {
		return
	}
	h := r.hub
	r.shut()
	r.wait(canceled) // after dismiss there is no socket left
	r.inbox.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.cfg.CloseTimeout)
	defer cancel()
	select {
	case <-r.writes.Done(): // everything was written
	case <-ctx.Done():
	}
	if _, err := r.writes.Drain(ctx); err != nil {
		h.cfg.Log.Warn("cannot write the last events of sockets", "hub", h.name, "error", err)
	}
	r.cancel(nil)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running == r {
		h.running = nil
	}
}
