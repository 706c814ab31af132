package gateways

import (
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways/internal/slot"
	"github.com/streamerson/streamerson-go/redisio"
)

// A topic consists of a few keys, all in one slot of a cluster:
//
//	orders             the stream of its requests
//	{orders}:reply:…   a stream of replies for each client process; behind the user, if there is one
//	{orders}:control   a stream of control messages: cancel, credit
//	{orders}:events    a stream of events
//	{orders}:types     a sorted set of the types that each process of a service answers
//	orders:dead        the dead letters of the requests
type keys struct {
	requests string
	control  string // "" if there is none
	events   string
	types    string   // "" if services do not announce them
	mailbox  string   // prefix of the keys of mailboxes; "" if there are none
	replies  []string // streams of replies that several clients share
}

func keysOf(name string) keys {
	tag := slot.Tag(name)
	return keys{
		requests: name,
		control:  tag + ":control",
		events:   tag + ":events",
		types:    tag + ":types",
		mailbox:  tag + ":reply:",
	}
}

func checkTopic(config, name string) error { return slot.Check(config, "topic", name, "orders") }

// owns reports whether a reply address is a mailbox or a shared reply stream of the topic. A
// service must not write anywhere else.
func (t keys) owns(address string) bool {
	if slices.Contains(t.replies, address) {
		return true
	}
	id, ok := strings.CutPrefix(address, t.mailbox)
	return ok && t.mailbox != "" && id != "" && len(id) <= addressMost
}

const (
	addressMost = 128 // bytes of the id of a mailbox: the user, a colon, and what is random
	userMost    = 100
)

// mailboxes is what the keys of a user's mailboxes begin with.
func (t keys) mailboxes(user string) string {
	if user == "" || t.mailbox == "" {
		return t.mailbox
	}
	return t.mailbox + user + ":"
}

// checkUser returns what is wrong with a user's name in a key, "" if nothing is. A colon would let
// the rights of the user "a" hold for the mailboxes of "a:b".
func checkUser(name string) string {
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

// userOf returns the user as whom a client logs in, if its name may stand in a key, else "".
func userOf(rdb redis.UniversalClient) string {
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
	if name == "default" || checkUser(name) != "" {
		return ""
	}
	return name
}
