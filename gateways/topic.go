package gateways

import (
	"slices"
	"strings"

	"github.com/streamerson/streamerson-go/gateways/internal/slot"
)

// A topic consists of a few keys, all in one slot of a cluster:
//
//	orders             the stream of its requests
//	{orders}:reply:…   a stream of replies for each client process
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
	return ok && t.mailbox != "" && id != "" && len(id) <= 64
}
