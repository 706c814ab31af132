package ws

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio"
)

// Disconnect closes all sockets of a User or of a Session, or All sockets, in every process of a
// hub, within about two seconds. Any process may call it, for example after a logout or a ban. The
// reason is sent to the clients and may have up to 120 bytes.
//
// Sockets are closed with 1008. Clients connect again, and Authenticate decides whether to let them
// in. So first end what Authenticate checks, such as the session of the cookie. Without an
// Authenticate a client returns as the same guest.
func Disconnect(ctx context.Context, rdb redis.UniversalClient, hub string, to Target, reason string) error {
	errs := []error{checkHub("Disconnect", hub), to.check()}
	bad := func(wrong bool, field, problem, fix string) {
		if wrong {
			errs = append(errs, &redisio.ConfigError{Type: "Disconnect", Field: field, Problem: problem, Fix: fix})
		}
	}
	bad(redisio.IsNilClient(rdb), "rdb", "the Redis client is nil", "pass one, see redisio.Connect")
	bad(to.Room() != "", "to", "is a room", "name a User, a Session, or All")
	bad(
		len(reason) > maxReason || !utf8.ValidString(reason),
		"reason",
		"is longer than 120 bytes, or not UTF-8",
		"shorten it",
	)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	f, _, err := outbound.Encode(nil, nil, &redisio.Envelope{}, Message[rawMessage]{To: to, Value: rawMessage("null")})
	if err != nil {
		return err
	}
	values := []string{"h:" + headerEnd, reason}
	for _, field := range f {
		values = append(values, field.Name, string(field.Value))
	}
	if err := rdb.XAdd(ctx, &redis.XAddArgs{Stream: keysOf(hub).out, Values: values}).Err(); err != nil {
		return fmt.Errorf("ws: disconnect %q of hub %q: %w", to, hub, err)
	}
	return nil
}

const (
	// headerEnd marks an entry of the log that closes sockets. Its value is the reason.
	headerEnd = "end"
	// topicEnd is the topic of such entries in the relay. It is no valid target, so no client
	// receives them.
	topicEnd = "end"
	// maxReason is less than a close frame can carry.
	maxReason = 120
)

// order is a request to close sockets.
type order struct {
	to     Target
	reason string
}

// listen subscribes the hub to orders.
func (d *desk) listen(ctx context.Context) (err error) {
	d.ends, err = d.hub.relay.Listen(ctx, relay.Options{Topics: []string{topicEnd}, Overflow: relay.DropOldest})
	return err
}

// obey closes the sockets that orders name.
func (d *desk) obey(ctx context.Context) {
	for more := true; more; {
		b, again, err := d.ends.Poll(done)
		if errors.Is(err, context.Canceled) { // Poll has to query Redis
			ctx, cancel := context.WithTimeout(ctx, sweepEvery/10)
			b, again, err = d.ends.Poll(ctx)
			cancel()
		}
		if err != nil {
			return // retried at the next tick; a log that cannot be read ends the hub
		}
		for i := range b.Items {
			d.hub.end(b.Items[i].Value.order)
		}
		more = again
	}
}

// end closes sockets of this process.
func (h *Hub) end(o *order) {
	var list []*socket
	h.mu.Lock()
	for s := range h.sockets {
		if s.is(o.to) {
			list = append(list, s)
		}
	}
	h.mu.Unlock()
	for _, s := range list {
		s.finish(websocket.StatusPolicyViolation, o.reason)
	}
}

// is reports whether a target names the socket. Before the hello a socket has no session, and a
// guest has no known user.
func (s *socket) is(to Target) bool {
	greeted := s.greeted.Load()
	if user, is := strings.CutPrefix(string(to), userPrefix); is {
		return (greeted || s.hub.cfg.Authenticate != nil) && s.who.User == user
	}
	if session, is := strings.CutPrefix(string(to), sessionPrefix); is {
		return greeted && s.session == session
	}
	return to == All
}
