package ws

import (
	"cmp"
	"fmt"
	"log/slog"
	"path"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// Slow defines what the hub does with a socket that reads more slowly than messages arrive.
type Slow = relay.Overflow

const (
	// Pause lets the socket continue from the log at its own pace, with Redis as its buffer. It is
	// the default.
	Pause = relay.Pause
	// DropOldest drops the oldest waiting messages. The client receives a gap.
	DropOldest = relay.DropOldest
	// Close closes the socket with code 1013. The client reconnects and continues where it was.
	Close = relay.Close
)

// HubConfig configures a Hub. The zero value allows anonymous users and pages of the same host.
type HubConfig struct {
	// Authenticate identifies the user during the handshake. Its User is part of all events of the
	// user's sockets, and User targets address it. Its Value is passed to Authorize. The request's
	// context ends with the handshake. By default each session is a user of its own with a random
	// name.
	Authenticate gateways.Authenticator
	// Authorize allows or refuses joining a room and sending to it. By default every client may
	// join every room, and send to the rooms it has joined.
	Authorize Authorizer
	// Origins are further hosts, such as "app.example.com" or "https://*.example.com" (see
	// path.Match). Their pages may open sockets. Pages of the hub's own host are always allowed;
	// all others are refused with 403. Defaults to none.
	Origins []string
	// Calls is the client that carries out the calls of sockets. CallTypes lists the types of
	// requests they may call. Both default to none.
	Calls     *gateways.Client
	CallTypes []string
	// Presence sends the events Connected, Joined, Left and Disconnected to the workers. Defaults
	// to false.
	Presence bool
	// Queue is how many messages may wait for one socket. Defaults to 256. Messages are encoded
	// once and shared by all sockets. Slow is what happens beyond Queue. Defaults to Pause.
	Queue int
	Slow  Slow
	// Secrets sign the sessions and must be the same in all processes. The first one signs and all
	// are accepted, so that they can be rotated. Each needs 32 bytes or more. By default the
	// processes create a secret and share it in Redis. If it is lost there, the running processes
	// restore it within a second or two.
	Secrets []string
	// Wait is how long to retry at the start while Redis is not reachable. Defaults to 0, which
	// means one attempt.
	Wait time.Duration
	// Log receives the hub's log records. Defaults to the warnings and errors of slog.Default, see
	// flow.Logger.
	Log *slog.Logger

	Limits
	Tuning
}

// Limits are the part of a HubConfig that limits what clients may send.
type Limits struct {
	// MaxMessage is the largest size of a frame in bytes. A larger frame closes its socket with
	// code 1009. Defaults to 64 KiB.
	MaxMessage int
	// Rate is how many frames a second a socket may send, and Burst how many at once. The hub
	// delays reading beyond that, so the client has to wait. Rate defaults to 50, Burst to twice
	// the Rate. A negative Rate disables the limit.
	Rate  float64
	Burst int
	// UserBytes is how many bytes a second all sockets of a user may send to this process, and
	// UserBurst how many at once. The hub delays reading beyond that, as for Rate. UserBytes
	// defaults to 256 KiB, and UserBurst to the larger of 1 MiB and two frames of MaxMessage. A
	// negative UserBytes disables the limit.
	UserBytes int
	UserBurst int
	// MaxRooms is how many rooms a session may join. Defaults to 64.
	MaxRooms int
	// MaxSockets is how many sockets this process accepts. Further requests are refused with 503.
	// Defaults to 16,384.
	MaxSockets int
	// MaxCalls is the largest number of calls in flight on one socket. Defaults to 16.
	MaxCalls int
}

// Tuning is the part of a HubConfig that most programs leave at its defaults.
type Tuning struct {
	// Recent is how many of the newest messages are kept in memory for reconnecting sockets.
	// Defaults to 1024, at most 4 MiB. Negative disables it.
	Recent int
	// PingEvery is the silence after which a client is pinged. Defaults to 25 s. PongTimeout is how
	// long it may take to answer, from when the ping was sent; then its socket is closed. Defaults
	// to 10 s. Time during which this process was stalled does not count, here, in IdleTimeout and
	// in ReadTimeout.
	PingEvery   time.Duration
	PongTimeout time.Duration
	// IdleTimeout is the silence, pings and pongs aside, after which a socket is closed. Defaults
	// to 0, which means never, because many clients only listen.
	IdleTimeout time.Duration
	// ReadTimeout is how long a frame may take from its first byte to its last, and how long a
	// client may take to send its hello. Defaults to 10 s.
	ReadTimeout time.Duration
	// WriteTimeout is how long a write may wait for a client that does not read; then its socket is
	// closed. Defaults to 15 s.
	WriteTimeout time.Duration
	// SendTimeout is how long writing a message to Redis may take. After it the client receives
	// unavailable, or unknown if the message may have been written. Defaults to 10 s.
	SendTimeout time.Duration
	// CloseTimeout is how long a stopping hub waits for calls and messages in flight, and for
	// clients to close. Defaults to 10 s.
	CloseTimeout time.Duration
	// SessionTTL is how long a session may be resumed, from the start of its last socket. Defaults
	// to 24 h.
	SessionTTL time.Duration
	// MaxLen is how many processed events are kept. Defaults to 100,000. Unprocessed events are
	// kept up to HardCap, which defaults to 1,000,000. Beyond it clients receive the error
	// overloaded.
	MaxLen  int64
	HardCap int64
	// MaxBytes is the most memory that the events may take in Redis. Processed events are removed
	// to make room, whatever MaxLen is. If that is not enough, or Redis is out of memory, clients
	// receive the error overloaded. Defaults to 64 MiB. Negative disables the limit.
	MaxBytes int64
	// DedupeWindow is how long the id of a message is remembered, so that a copy is dropped.
	// Defaults to 2 minutes. Negative disables it, which is cheaper.
	DedupeWindow time.Duration
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
	m := redisio.MistakesOf("HubConfig")
	m.Negative("MaxCalls", int64(c.MaxCalls), "leave it 0 for 16")
	m.Negative("Queue", int64(c.Queue), "leave it 0 for 256")
	m.Negative("MaxMessage", int64(c.MaxMessage), "leave it 0 for 64 KiB")
	m.Negative("MaxRooms", int64(c.MaxRooms), "leave it 0 for 64")
	m.Negative("MaxSockets", int64(c.MaxSockets), "leave it 0 for 16,384")
	m.Negative("PingEvery", int64(c.PingEvery), "leave it 0 for 25 s")
	m.Negative("PongTimeout", int64(c.PongTimeout), "leave it 0 for 10 s")
	m.Negative("IdleTimeout", int64(c.IdleTimeout), "leave it 0 for never")
	m.Negative("ReadTimeout", int64(c.ReadTimeout), "leave it 0 for 10 s")
	m.Negative("WriteTimeout", int64(c.WriteTimeout), "leave it 0 for 15 s")
	m.Negative("SendTimeout", int64(c.SendTimeout), "leave it 0 for 10 s")
	m.Negative("CloseTimeout", int64(c.CloseTimeout), "leave it 0 for 10 s")
	m.Negative("SessionTTL", int64(c.SessionTTL), "leave it 0 for 24 h")
	m.Negative("MaxLen", c.MaxLen, "leave it 0 for 100,000")
	m.Negative("HardCap", c.HardCap, "leave it 0 for 1,000,000")
	m.Negative("UserBurst", int64(c.UserBurst), "leave it 0 for 1 MiB")
	m.Negative("Wait", int64(c.Wait), "leave it 0 for one try")
	m.Is(c.Slow < Pause || c.Slow > Close, "Slow", int(c.Slow), "choose Pause, DropOldest or Close")
	m.If(c.Burst < 0 && c.Rate >= 0, "Burst", "is negative",
		"leave it 0 for twice the Rate; a negative Rate disables the limit")
	m.Is(c.MaxMessage > maxMessage, "MaxMessage", c.MaxMessage, "choose at most 1,000,000, so that it fits an entry")
	m.If(len(c.CallTypes) > 0 && c.Calls == nil, "CallTypes", "are set without Calls",
		"set Calls to the client of the services' topic")
	m.If(c.Calls != nil && len(c.CallTypes) == 0, "Calls", "is set without CallTypes",
		"name the types of requests that clients may call")
	for _, o := range c.Origins {
		_, err := path.Match(o, "")
		m.If(err != nil || o == "", "Origins", fmt.Sprintf("has %q", o),
			`write hosts such as "app.example.com" or "https://*.example.com"`)
	}
	for i, s := range c.Secrets {
		m.If(len(s) < minSecret, "Secrets", fmt.Sprintf("has %d bytes at %d", len(s), i),
			"choose 32 random bytes or more, or leave it out")
	}
	m.Is(c.MaxBytes > 0 && c.MaxBytes < 64<<10, "MaxBytes", c.MaxBytes,
		"choose 65536 or more; negative disables the limit")
	d := c.withDefaults()
	m.If(d.UserBytes > 0 && d.UserBurst < d.MaxMessage, "UserBurst",
		fmt.Sprintf("is %d, less than MaxMessage %d", d.UserBurst, d.MaxMessage), "choose MaxMessage or more")
	m.If(d.HardCap < d.MaxLen, "HardCap", fmt.Sprintf("is %d, less than MaxLen %d", d.HardCap, d.MaxLen),
		"choose more than MaxLen")
	return m.Err()
}

// defaultBytes is how much Redis memory the events and the log of a hub may take, each.
const defaultBytes = 64 << 20

// minSecret is the shortest length of a secret in bytes.
const minSecret = 32

// maxMessage is the largest allowed MaxMessage. A frame is written to an entry of at most 1 MiB,
// together with some fields.
const maxMessage = 1_000_000

// Access returns the rights of the processes of a hub, on a server with ACLs. They may append to
// its events, read its log, end sockets through it (Disconnect), and share the secret of the
// sessions. With Secrets the last right is left out. The client in Calls also needs the rights of
// gateways.ClientConfig.Access.
//
//	rdb.ACLSetUser(ctx, "web", append(ws.HubConfig{}.Access("chat").Rules(), "on", ">password")...)
//
// The command redisio/cmd/streams acl -hub prints the same.
func (c HubConfig) Access(hub string) redisio.Access {
	c = c.withDefaults()
	k := keysOf(hub)
	in := writer.Config{
		Key:          k.in,
		MaxLen:       c.MaxLen,
		Tuning:       c.inboxTuning(),
		DedupeWindow: max(0, c.DedupeWindow),
	}
	a := in.Access().And(reader.TailConfig{Key: k.out}.Access(), reader.RangeConfig{Key: k.out}.Access(),
		writer.Config{Key: k.out}.Access())
	if len(c.Secrets) > 0 {
		return a
	}
	seal := redisio.Access{Commands: []string{"eval", "get", "set"}, Writes: []string{redisio.KeyPattern(k.seal)}}
	return a.And(seal.Apart())
}

// inboxTuning limits the events in Redis.
func (c HubConfig) inboxTuning() writer.Tuning {
	return writer.Tuning{HardCap: c.HardCap, WhenFull: writer.FullRefuse, MaxBytes: max(0, c.MaxBytes)}
}
