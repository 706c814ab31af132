package gateways

import (
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/slot"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
)

// Wire is the protocol between the services and clients of a topic: its keys and the format of its
// entries. Both sides must use the same one. nil is this project's own protocol, which the package
// documentation describes. StreamersonV1 is the only other.
type Wire interface {
	speak(config, topic string) (dialect, error)
}

// dialect is a Wire applied to a topic.
type dialect struct {
	keys    slot.Topic
	request redisio.Format[Request]
	reply   redisio.Format[Response]
	timeout time.Duration // of calls, by default
	start   redisio.Start // of a service's new group

	own    bool   // only services read requests: they are deleted when settled
	shared string // the stream of all clients' replies; "" if each has its own
	most   int64  // how many replies that stream keeps
}

func speak(w Wire, config, topic string) (dialect, error) {
	if w != nil {
		return w.speak(config, topic)
	}
	return dialect{
			keys:    slot.TopicOf(topic),
			request: requestFormat{},
			reply:   replyFormat{},
			timeout: defaultTimeout,
			own:     true,
		},
		slot.CheckTopic(
			config,
			topic,
		)
}

// replies returns the sink that writes answers to their reply addresses.
func (d *dialect) replies(
	rdb redis.UniversalClient,
	wait time.Duration,
	box boxing,
) flow.Sink[Response] {
	if d.shared == "" {
		return mailboxes(rdb, d.reply, wait, box)
	}
	return sink.Stream(rdb, sink.StreamConfig[Response]{
		KeyFor: func(m flow.Message[Response]) string { return m.Meta().ReplyTo },
		Format: d.reply,
		MaxLen: d.most,
		Wait:   wait,
		OnFull: box.full,
		Tuning: writer.Tuning{DropUnread: true, MaxPayload: payloadFor(box.maxReply)},
	})
}
