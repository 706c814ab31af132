package ws

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio"
)

// Slow is what becomes of a socket that reads more slowly than messages come.
type Slow int

const (
	// Pause lets it go on from the log, at its own pace: Redis is its buffer. It is the default.
	Pause Slow = iota
	// DropOldest drops what has waited longest; the client is told by a gap.
	DropOldest
	// Close closes it, with code 1013. The client reconnects, and goes on where it was.
	Close
)

func (s Slow) overflow() relay.Overflow {
	switch s {
	case DropOldest:
		return relay.DropOldest
	case Close:
		return relay.Close
	}
	return relay.Pause
}

// HubConfig configures a Hub. The zero value is the default: anonymous users, pages of the same host.
type HubConfig struct {
	// Authenticate says who is at a socket. By default every session is a user of its own, with a random name.
	Authenticate Authenticator
	// Authorize says who may join and send where. By default everybody may join every room, and send to those joined.
	Authorize Authorizer
	// Origins are the hosts whose pages may open sockets beside the host itself, as
	// "app.example.com" or "https://*.example.com"; see path.Match. Others are refused with 403.
	// The default is none.
	Origins []string

	// Calls is where calls of clients go, and CallTypes which types of requests may be called. The default is none.
	Calls     *gateways.Client
	CallTypes []string
	// MaxCalls is how many calls of a socket may be in flight. The default is 16.
	MaxCalls int

	// Presence has the hub tell the workers of sessions and rooms: Connected, Joined, Left, Disconnected.
	Presence bool

	// Queue is how many messages may wait for a socket, and Slow what becomes of it when there are
	// more. The default is 256. They are encoded once and shared by all sockets.
	Queue int
	Slow  Slow
	// Recent is how many of the newest messages are kept in memory for sockets that come back. The
	// default is 1024, and no more than 4 MiB; negative means none.
	Recent int

	// MaxMessage bounds the bytes of a frame; one that is larger closes its socket, with code 1009.
	// The default is 64 KiB.
	MaxMessage int
	// Rate is how many frames a second a socket may send, and Burst how many at once. What is
	// beyond it is not read yet: the client has to wait. The defaults are 50, and twice the Rate; a
	// negative Rate is no limit.
	Rate  float64
	Burst int
	// UserBytes is how many bytes a second all sockets of a user may send to this process, and
	// UserBurst how many at once. The client waits beyond that, as beyond Rate. Defaults to 256
	// KiB, and to 1 MiB or two frames of MaxMessage. A negative UserBytes disables the limit.
	UserBytes int
	UserBurst int
	// MaxRooms is how many rooms a session may be in. The default is 64.
	MaxRooms int
	// MaxSockets is how many sockets this process takes; more are refused with 503. The default is 16,384.
	MaxSockets int

	// PingEvery is after what silence a client is pinged, and PongTimeout how long it may take to
	// answer, from when the ping was sent; then its socket is closed. Time for which this process
	// stood still does not count, here, in IdleTimeout and in ReadTimeout. The defaults are 25 s
	// and 10 s.
	PingEvery   time.Duration
	PongTimeout time.Duration
	// IdleTimeout closes sockets whose client has said nothing for so long, other than pings and
	// pongs. The default is never: many only listen.
	IdleTimeout time.Duration
	// ReadTimeout is how long a frame may take from its first byte to its last, and how long a
	// client has for its hello. The default is 10 s.
	ReadTimeout time.Duration
	// WriteTimeout is how long a client may leave what was sent to it in its buffers; then its
	// socket is closed. The default is 15 s.
	WriteTimeout time.Duration
	// SendTimeout is how long a message may take to get into Redis; then the client is told that it
	// did not, or may not have. The default is 10 s.
	SendTimeout time.Duration
	// CloseTimeout is how long the end waits for what is under way, and for clients to take leave. The default is 10 s.
	CloseTimeout time.Duration

	// SessionTTL is for how long a session may be taken up again after its socket began. The default is 24 h.
	SessionTTL time.Duration
	// MaxLen is how many events that the workers are done with are kept. Those that are not stay, up to HardCap; then
	// clients are told that the hub is overloaded. The defaults are 100,000 and 1,000,000.
	MaxLen  int64
	HardCap int64
	// MaxBytes is the most memory that the events may take in Redis. Those that the workers are
	// done with make room, whatever MaxLen is; then clients are told that the hub is overloaded, as
	// they are at once when Redis is out of memory. Defaults to 64 MiB. Negative disables the
	// limit.
	MaxBytes int64
	// Secrets sign the sessions, and must be the same in all processes. The first signs and all are
	// accepted, so that they can be rotated. Each needs 32 bytes or more. By default the processes
	// make a secret and share it in Redis; if it is lost there, they share again what they have
	// within a second or two.
	Secrets []string
	// DedupeWindow is for how long a message that a client sends again is known. The default is 2
	// minutes; negative means not at all, which is cheaper.
	DedupeWindow time.Duration

	// Wait is how long to keep trying while Redis is not reachable at the start. The default is one try.
	Wait time.Duration
	// Log gets what the hub notices. Defaults to the warnings and errors of slog.Default, see flow.Logger.
	Log *slog.Logger
}

func (c HubConfig) withDefaults() HubConfig {
	c.MaxCalls = cmp.Or(c.MaxCalls, 16)
	c.Queue = cmp.Or(c.Queue, 256)
	c.Recent = cmp.Or(c.Recent, 1024)
	c.MaxMessage = cmp.Or(c.MaxMessage, 64<<10)
	c.Rate = cmp.Or(c.Rate, 50)
	c.Burst = cmp.Or(c.Burst, max(1, int(2*c.Rate)))
	c.UserBytes = cmp.Or(c.UserBytes, 256<<10)
	c.UserBurst = cmp.Or(c.UserBurst, max(1<<20, 2*c.MaxMessage))
	c.MaxRooms = cmp.Or(c.MaxRooms, 64)
	c.MaxSockets = cmp.Or(c.MaxSockets, 16<<10)
	c.PingEvery = cmp.Or(c.PingEvery, 25*time.Second)
	c.PongTimeout = cmp.Or(c.PongTimeout, 10*time.Second)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, 10*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 15*time.Second)
	c.SendTimeout = cmp.Or(c.SendTimeout, 10*time.Second)
	c.CloseTimeout = cmp.Or(c.CloseTimeout, 10*time.Second)
	c.SessionTTL = cmp.Or(c.SessionTTL, 24*time.Hour)
	c.MaxLen = cmp.Or(c.MaxLen, 100_000)
	c.HardCap = cmp.Or(c.HardCap, 1_000_000)
	c.MaxBytes = cmp.Or(c.MaxBytes, defaultBytes)
	c.DedupeWindow = cmp.Or(c.DedupeWindow, 2*time.Minute)
	c.Log = flow.Thinned(c.Log)
	return c
}

// Validate reports all mistakes at once, each as a *redisio.ConfigError.
func (c HubConfig) Validate() error {
	var errs []error
	bad := func(field, problem, fix string) {
		errs = append(errs, &redisio.ConfigError{Type: "HubConfig", Field: field, Problem: problem, Fix: fix})
	}
	for _, n := range []struct {
		field string
		value int64
		fix   string
	}{
		{"MaxCalls", int64(c.MaxCalls), "leave it 0 for 16"},
		{"Queue", int64(c.Queue), "leave it 0 for 256"},
		{"MaxMessage", int64(c.MaxMessage), "leave it 0 for 64 KiB"},
		{"MaxRooms", int64(c.MaxRooms), "leave it 0 for 64"},
		{"MaxSockets", int64(c.MaxSockets), "leave it 0 for 16,384"},
		{"PingEvery", int64(c.PingEvery), "leave it 0 for 25 s"},
		{"PongTimeout", int64(c.PongTimeout), "leave it 0 for 10 s"},
		{"IdleTimeout", int64(c.IdleTimeout), "leave it 0 for never"},
		{"ReadTimeout", int64(c.ReadTimeout), "leave it 0 for 10 s"},
		{"WriteTimeout", int64(c.WriteTimeout), "leave it 0 for 15 s"},
		{"SendTimeout", int64(c.SendTimeout), "leave it 0 for 10 s"},
		{"CloseTimeout", int64(c.CloseTimeout), "leave it 0 for 10 s"},
		{"SessionTTL", int64(c.SessionTTL), "leave it 0 for 24 h"},
		{"MaxLen", c.MaxLen, "leave it 0 for 100,000"},
		{"HardCap", c.HardCap, "leave it 0 for 1,000,000"},
		{"UserBurst", int64(c.UserBurst), "leave it 0 for 1 MiB"},
		{"Wait", int64(c.Wait), "leave it 0 for one try"},
	} {
		if n.value < 0 {
			bad(n.field, "is negative", n.fix)
		}
	}
	if c.Slow < Pause || c.Slow > Close {
		bad("Slow", fmt.Sprintf("is %d", c.Slow), "choose Pause, DropOldest or Close")
	}
	if c.Burst < 0 && c.Rate >= 0 {
		bad("Burst", "is negative", "leave it 0 for twice the Rate; a negative Rate is no limit")
	}
	if c.MaxMessage > maxMessage {
		bad("MaxMessage", fmt.Sprintf("is %d", c.MaxMessage), "choose up to 1,000,000: it has to fit an entry")
	}
	if len(c.CallTypes) > 0 && c.Calls == nil {
		bad("CallTypes", "are set without Calls", "set Calls to the client of the services' topic")
	}
	if c.Calls != nil && len(c.CallTypes) == 0 {
		bad("Calls", "is set without CallTypes", "name the types of requests that clients may call")
	}
	for _, o := range c.Origins {
		if _, err := path.Match(o, ""); err != nil || o == "" {
			bad("Origins", fmt.Sprintf("has %q", o), `write hosts, as "app.example.com" or "https://*.example.com"`)
		}
	}
	for i, s := range c.Secrets {
		if len(s) < minSecret {
			bad("Secrets", fmt.Sprintf("has %d bytes at %d", len(s), i),
				"choose 32 random bytes or more, or leave it out")
		}
	}
	if c.MaxBytes > 0 && c.MaxBytes < 64<<10 {
		bad("MaxBytes", fmt.Sprintf("is %d", c.MaxBytes), "choose 65536 or more; negative is no limit")
	}
	d := c.withDefaults()
	if d.UserBytes > 0 && d.UserBurst < d.MaxMessage {
		bad("UserBurst", fmt.Sprintf("is %d, less than MaxMessage %d", d.UserBurst, d.MaxMessage),
			"choose MaxMessage or more")
	}
	if d.HardCap < d.MaxLen {
		bad("HardCap", fmt.Sprintf("is %d, less than MaxLen %d", d.HardCap, d.MaxLen), "choose more than MaxLen")
	}
	return errors.Join(errs...)
}

// defaultBytes is what the events and the log of a hub may take in Redis, each.
const defaultBytes = 64 << 20

// minSecret is the least length of a secret, in bytes.
const minSecret = 32

// maxMessage is the most that MaxMessage may be: what clients send goes into an entry of 1 MiB,
// with some fields beside it.
const maxMessage = 1_000_000
