package gateways

import (
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/sink"
)

// Wire is how the services and clients of a topic speak: which keys there are, and what entries
// look like. Both sides have to agree. nil is this project's own way, as the package's
// documentation tells it, and StreamersonV1 is the only other.
type Wire interface {
	speak(config, topic string) (dialect, error)
}

// dialect is what a Wire makes of a topic.
type dialect struct {
	keys    keys
	request redisio.Format[Request]
	reply   redisio.Format[Response]
	timeout time.Duration // of calls, by default
	start   redisio.Start // of a service's group that does not exist yet

	own    bool   // nobody but services reads requests: they are deleted when they are settled
	shared string // the stream of all clients' replies; "" if each has its own
	most   int64  // how many replies it keeps
}

func speak(w Wire, config, topic string) (dialect, error) {
	if w != nil {
		return w.speak(config, topic)
	}
	return dialect{
			keys:    keysOf(topic),
			request: requestFormat{},
			reply:   replyFormat{},
			timeout: defaultTimeout,
			own:     true,
		},
		checkTopic(
			config,
			topic,
		)
}

// replies is the sink that writes answers to where they belong.
func (d *dialect) replies(
	rdb redis.UniversalClient,
	wait time.Duration,
	most int,
	full func(flow.Message[Response]) error,
) flow.Sink[Response] {
	if d.shared == "" {
		return mailboxes(rdb, d.reply, wait, most, full)
	}
	return sink.Stream(
		rdb,
		sink.StreamConfig[Response]{KeyFor: func(m flow.Message[Response]) string { return m.Meta().ReplyTo },
			Format: d.reply, MaxLen: d.most, DropUnread: true, Wait: wait, MaxPayload: payloadFor(most), OnFull: full},
	)
}
