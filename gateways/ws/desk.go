package ws

import (
	"context"
	"errors"
	"time"

	"github.com/coder/websocket"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// sweepEvery is how often the hub checks its sockets, and so the resolution of their timeouts.
const sweepEvery = time.Second

// desk is the sink of the hub's clock. It starts to accept sockets, checks them at each tick, and
// closes them.
//
// Messages of sockets go through a graph of their own, because it has to outlive the sockets: when
// the hub's graph ends, it stops all its sources at once, and a socket may still have a message to
// write then.
type desk struct {
	hub   *Hub
	life  *life
	inbox *flow.Running
	round []*socket
	ends  *relay.Listener[delivery] // orders of Disconnect
}

// said is a message of a socket on its way to the stream of the workers.
type said struct {
	Event[[]byte]
	id string // of the message; "" if the client sent none
}

// inboxSize is how many messages of sockets may wait to be written. Each socket has at most one,
// presence events aside.
const inboxSize = 1024

var errRunning = errors.New("ws: hub is already running: run one graph of it at a time")

func (d *desk) Open(ctx context.Context) error {
	h := d.hub
	seal, err := d.sealer(ctx)
	if err != nil {
		return err
	}
	if err := d.listen(ctx); err != nil {
		return flow.Permanent(err)
	}
	l := &life{seal: seal, open: true}
	l.ctx, l.cancel = context.WithCancelCause(context.WithoutCancel(ctx)) // ended by Close
	from, inbox := source.Queue[said](inboxSize, flow.Name("said"))
	out := sink.StreamConfig[said]{Key: h.keys.in, Format: saidFormat{}, MaxLen: h.cfg.MaxLen, Tuning: writer.Tuning{
		HardCap:  h.cfg.HardCap,
		WhenFull: writer.FullRefuse,
		MaxBytes: max(0, h.cfg.MaxBytes),
	}, Wait: h.cfg.Wait}
	if h.cfg.DedupeWindow > 0 {
		out.DedupeWindow = h.cfg.DedupeWindow
		out.IDFor = func(m flow.Message[said]) string { return m.Value.id }
	}
	l.inbox = inbox
	g := flow.New("inbox of "+h.name, flow.To(from, sink.Stream(h.rdb, out, flow.Name("in"))), flow.Log(h.cfg.Log))
	if d.inbox, err = g.Start(context.WithoutCancel(ctx)); err != nil {
		return flow.Permanent(err)
	}
	d.life = l
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.life != nil {
		return flow.Permanent(errRunning)
	}
	h.life = l
	return nil
}

// sealer loads the secret of the sessions, retrying until Redis is available or the hub's Wait is
// over.
func (d *desk) sealer(ctx context.Context) (*sealer, error) {
	h := d.hub
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

// shareSecret is the sink that keeps the secret of the sessions in Redis. While that fails the
// process continues with the secret it has.
func (h *Hub) shareSecret(ctx context.Context, _ time.Time) error {
	h.mu.Lock()
	l := h.life
	h.mu.Unlock()
	if l == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	err := l.seal.share(ctx)
	if failed := err != nil; l.unshared.Swap(failed) != failed && failed && ctx.Err() == nil {
		h.cfg.Log.Warn("cannot keep the session secret in Redis, will retry", "hub", h.name, "error", err)
	}
	return nil
}

// shareTimeout limits each attempt to keep the secret in Redis.
const shareTimeout = 5 * time.Second

// Write checks the sockets.
func (d *desk) Write(ctx context.Context, _ []flow.Message[time.Time]) error {
	d.obey(ctx)
	now, judge := d.hub.clock.tick()
	for _, s := range d.sockets() {
		s.look(now, judge)
	}
	clear(d.round)
	return nil
}

func (d *desk) sockets() []*socket {
	h := d.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	d.round = d.round[:0]
	for s := range h.sockets {
		d.round = append(d.round, s)
	}
	for user, b := range h.users {
		h.forget(user, b)
	}
	return d.round
}

var errDead = errors.New("ws: client does not answer")

// look closes a socket that is silent or too slow, and schedules its pings. If judge is false, the
// socket is given more time.
func (s *socket) look(now int64, judge bool) {
	cfg := &s.hub.cfg
	since := func(t int64) time.Duration { return time.Duration(now - t) }
	busy := s.busy.Load()
	seen, moved, partial := s.seen.Load(), s.wire.moved.Load(), s.partial.Load()
	alive := max(seen, moved)
	switch {
	case s.asked.Load() <= alive:
		s.silent = 0
	case s.silent == 0: // count from now: the time until the ping was written is not the client's silence
		s.silent = now
	}
	switch {
	case busy || !judge: // the socket does not wait for the client
	case partial != 0 && since(partial) > cfg.ReadTimeout:
		if s.greeted.Load() && s.kill(errSlow) ||
			!s.greeted.Load() && s.finish(websocket.StatusPolicyViolation, "no hello") {
			s.hub.stats.slow.Add(1)
		}
	case s.silent != 0 && since(s.silent) > cfg.PongTimeout && since(alive) > cfg.PingEvery+cfg.PongTimeout:
		// The second condition: the ping may wait behind a lot of data that the client still reads.
		if s.kill(errDead) {
			s.hub.stats.dead.Add(1)
		}
	case cfg.IdleTimeout > 0 && since(s.spoke.Load()) > cfg.IdleTimeout:
		s.finish(websocket.StatusGoingAway, "idle")
	}
	if now < s.beat {
		return
	}
	s.beat = now + int64(cfg.PingEvery)
	s.mu.Lock()
	s.ping, s.tell = since(seen) >= cfg.PingEvery/2, s.greeted.Load()
	s.stir()
	s.mu.Unlock()
}

// byeFrame and byeReason are sent to sockets when the process stops.
var byeFrame = (&reply{Kind: "bye", Code: codeClosing, Message: "server shutting down: reconnect"}).frame()

const byeReason = "going away"

// Flush ends the hub. It tells the sockets to reconnect, and closes each one when it has no call or
// message in flight. After three quarters of CloseTimeout the rest is cancelled, early enough for
// clients to be told.
func (d *desk) Flush(ctx context.Context) error {
	d.shut()
	limit := d.hub.cfg.CloseTimeout
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	enough := time.AfterFunc(limit*3/4, func() { d.life.cancel(errClosing) })
	defer enough.Stop()
	for _, s := range d.sockets() {
		s.leave()
	}
	return d.wait(ctx)
}

// errClosing is the cause when the hub ends.
var errClosing = errors.New("ws: hub is stopping")

// shut stops accepting sockets.
func (d *desk) shut() {
	d.hub.mu.Lock()
	defer d.hub.mu.Unlock()
	d.life.open = false
}

func (d *desk) wait(ctx context.Context) error {
	gone := flow.Aside(func() error { d.life.work.Wait(); return nil })
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	d.life.cancel(context.Cause(ctx))
	for _, s := range d.sockets() {
		s.kill(context.Cause(ctx))
	}
	return <-gone
}

// Close ends the sockets that Flush has not ended, and writes the last messages.
func (d *desk) Close(ctx context.Context) error {
	if d.ends != nil {
		d.ends.Close()
	}
	if d.life == nil {
		return nil
	}
	d.shut()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_ = d.wait(ended) // after a Flush there is no socket left
	d.life.inbox.Close()
	select {
	case <-d.inbox.Done(): // everything was written
	case <-ctx.Done():
	}
	_, err := d.inbox.Drain(ctx)
	d.life.cancel(nil)
	d.hub.mu.Lock()
	defer d.hub.mu.Unlock()
	if d.hub.life == d.life {
		d.hub.life = nil
	}
	return err
}
