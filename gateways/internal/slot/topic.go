package slot

import (
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// Topic names the keys of a topic, which share a slot of a cluster:
//
//	orders             the stream of its requests
//	{orders}:reply:…   a stream of replies for each client process; behind the user, if there is one
//	{orders}:control   a stream of control messages: cancel, credit
//	{orders}:events    a stream of events
//	{orders}:types     a sorted set of the types that each process of a service answers
//	orders:dead        the dead letters of the requests
type Topic struct {
	Requests string
	Control  string // "" without control messages
	Events   string
	Types    string   // "" if services do not announce them
	Mailbox  string   // prefix of the keys of mailboxes; "" without mailboxes
	Replies  []string // streams of replies that several clients share
}

// TopicOf returns the keys of a topic.
func TopicOf(name string) Topic {
	tag := Tag(name)
	return Topic{
		Requests: name,
		Control:  tag + ":control",
		Events:   tag + ":events",
		Types:    tag + ":types",
		Mailbox:  tag + ":reply:",
	}
}

// CheckTopic reports an invalid name of a topic, as a mistake in a configuration.
func CheckTopic(config, name string) error { return Check(config, "topic", name, "orders") }

// Owns reports whether a reply address is a mailbox or a shared reply stream of the topic. A
// service must not write anywhere else.
func (t Topic) Owns(address string) bool {
	if slices.Contains(t.Replies, address) {
		return true
	}
	id, ok := strings.CutPrefix(address, t.Mailbox)
	return ok && t.Mailbox != "" && id != "" && len(id) <= addressMost
}

const (
	addressMost = 128 // bytes of the id of a mailbox: the user, a colon, and what is random
	userMost    = 100
)

// Mailboxes is what the keys of a user's mailboxes begin with.
func (t Topic) Mailboxes(user string) string {
	if user == "" || t.Mailbox == "" {
		return t.Mailbox
	}
	return t.Mailbox + user + ":"
}

// CheckUser returns what is wrong with a user's name in a key, "" if nothing is. A colon would let
// the rights of the user "a" hold for the mailboxes of "a:b".
func CheckUser(name string) string {
	const more = "-_.@+="
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte(more, c) < 0 {
			return fmt.Sprintf("has %q", c)
		}
	}
	if len(name) > userMost {
		return fmt.Sprintf("is longer than %d bytes", userMost)
	}
	return ""
}

// UserOf returns the name with which a client logs in, or "" if a key must not contain it.
func UserOf(rdb redis.UniversalClient) string {
	if redisio.IsNilClient(rdb) {
		return ""
	}
	name := ""
	switch c := rdb.(type) {
	case *redis.Client:
		name = c.Options().Username
	case *redis.ClusterClient:
		name = c.Options().Username
	case *redis.Ring:
		name = c.Options().Username
	}
	if name == "default" || CheckUser(name) != "" {
		return ""
	}
	return name
}

// PublishEvents returns the rights to publish the events of the topic.
func (t Topic) PublishEvents() redisio.Access {
	return writer.Config{Key: t.Events, MaxLen: 1,
		Tuning: writer.Tuning{MaxBytes: 1, WhenFull: writer.FullDrop}}.Access()
}

// ReadEvents returns the rights to read the events of the topic without a group.
func (t Topic) ReadEvents() redisio.Access {
	return reader.TailConfig{Key: t.Events}.Access().And(reader.RangeConfig{Key: t.Events}.Access())
}
