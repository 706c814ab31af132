package gateways

import (
	"slices"
	"strings"

	"github.com/streamerson/streamerson-go/redisio"
)

// A topic is a few keys, all in one slot of a cluster:
//
//	orders             the stream of its requests
//	{orders}:reply:…   a stream of replies for each client process
//	{orders}:control   a stream of what clients say later: cancel, go on
//	{orders}:events    a stream of what everybody may hear
//	orders:dead        the requests that came to nothing, as of any stream
type keys struct {
	requests string
	control  string // "" if there is none
	events   string
	mailbox  string   // what the keys of mailboxes begin with; "" if there are none
	replies  []string // streams of replies that several clients share
}

func keysOf(name string) keys {
	tag := name
	if !strings.HasPrefix(name, "{") {
		tag = "{" + name + "}"
	}
	return keys{requests: name, control: tag + ":control", events: tag + ":events", mailbox: tag + ":reply:"}
}

// checkTopic reports names that don't make keys of one slot.
func checkTopic(config, name string) error {
	inner := name
	if strings.HasPrefix(name, "{") && strings.HasSuffix(name, "}") {
		inner = name[1 : len(name)-1]
	}
	problem := ""
	switch {
	case inner == "":
		problem = "is empty"
	case len(name) > 200:
		problem = "is longer than 200 bytes"
	case strings.ContainsAny(inner, "{}"):
		problem = "has braces inside"
	default:
		return nil
	}
	return &redisio.ConfigError{Type: config, Field: "topic", Problem: problem,
		Fix: `name it in a word or a few, as "orders"; for a hash tag of Redis Cluster put all of it in braces, as "{orders}"`}
}

// owns reports whether a reply address is a mailbox of the topic, or what it has instead: nobody may have a service write anywhere else.
func (t keys) owns(address string) bool {
	if slices.Contains(t.replies, address) {
		return true
	}
	id, ok := strings.CutPrefix(address, t.mailbox)
	return ok && t.mailbox != "" && id != "" && len(id) <= 64
}
