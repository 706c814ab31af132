package ws

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/streamerson/streamerson-go/gateways/internal/slot"
)

// Target names the sockets that receive a message: All, or the result of Room, User or Session. As
// text, and as the key of an entry, it is "all", "room:lobby", "user:ann" or "session:…".
type Target string

// All is every socket of the hub.
const All Target = "all"

const (
	roomPrefix    = "room:"
	userPrefix    = "user:"
	sessionPrefix = "session:"
)

// Room is every socket that has joined a room.
func Room(name string) Target { return Target(roomPrefix + name) }

// User is every socket of a user, on all devices.
func User(name string) Target { return Target(userPrefix + name) }

// Session is the client of one session, across reconnects.
func Session(id string) Target { return Target(sessionPrefix + id) }

// Room returns the name of the room; "" if the target is not a room.
func (t Target) Room() string {
	name, is := strings.CutPrefix(string(t), roomPrefix)
	if !is {
		return ""
	}
	return name
}

func (t Target) check() error {
	if t == All {
		return nil
	}
	for _, p := range [...]string{roomPrefix, userPrefix, sessionPrefix} {
		if name, is := strings.CutPrefix(string(t), p); is {
			return checkName("target", name)
		}
	}
	return fmt.Errorf("ws: %.40q is not a target: use Room, User, Session or All", string(t))
}

// maxName is the longest name of a room, user or type, in bytes.
const maxName = 128

// checkName refuses names that would cause trouble in logs, keys and pages.
func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("ws: the %s is empty", what)
	case len(name) > maxName:
		return fmt.Errorf("ws: the %s is longer than %d bytes", what, maxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("ws: the %s is not UTF-8", what)
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("ws: the %s has control characters", what)
	}
	return nil
}

// keys are the keys of a hub, all in one cluster slot:
//
//	{chat}:in    events of sockets, for the workers
//	{chat}:out   messages to sockets, one log for all rooms and users
//	{chat}:seal  the secrets that sign sessions
type keys struct{ in, out, seal string }

func keysOf(hub string) keys {
	tag := slot.Tag(hub)
	return keys{tag + ":in", tag + ":out", tag + ":seal"}
}

func checkHub(config, name string) error { return slot.Check(config, "hub", name, "chat") }
