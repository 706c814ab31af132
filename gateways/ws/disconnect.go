package ws

import (
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

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
	m := redisio.MistakesOf("Disconnect")
	m.Join(checkHub("Disconnect", hub))
	m.Join(to.check())
	m.Client(rdb)
	m.If(to.Room() != "", "to", "is a room", "name a User, a Session, or All")
	m.If(len(reason) > maxReason || !utf8.ValidString(reason), "reason", "is longer than 120 bytes, or not UTF-8",
		"shorten it")
	if err := m.Err(); err != nil {
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
