package gateways

import (
	"cmp"
	"log/slog"
	"strconv"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/slot"
	"github.com/streamerson/streamerson-go/redisio"
)

// ClientConfig configures a Client. The zero value is the default.
type ClientConfig struct {
	// Timeout is how long a call may take if its context has no deadline. Defaults to 10 s, and to
	// 3 s with StreamersonV1. Streamed replies are limited by their context only.
	Timeout time.Duration
	// MaxInFlight is how many calls may wait for replies at once. Further calls fail immediately
	// with ErrOverloaded. Defaults to 4096.
	MaxInFlight int
	// MaxWait is the longest acceptable queueing time of a request before a service takes it. The
	// client estimates it from the calls in flight, the rate of their replies, and the waits that
	// replies report. A call fails immediately with an *OverloadError if its estimated wait exceeds
	// MaxWait or its deadline. The full limit applies to bursts: once the wait has exceeded a fifth
	// of it for half a second, the limit is a tenth, until the queue is nearly empty. Requests that
	// a service has taken but not started count against the service's MaxInFlight instead. Defaults
	// to 250 ms. Negative disables the limit. If no replies arrive, the services are away rather
	// than overloaded: calls wait and time out. Replies of graphs (see Reply) and of StreamersonV1
	// report no waits, so their calls are not refused.
	MaxWait time.Duration
	// Window is how many parts of a streamed reply the service may send ahead. Defaults to 64. The
	// maximum is 4096.
	Window int
	// MaxLen is how many settled requests stay in the stream, apart from those added within a tenth
	// of a second. Unsettled requests always stay, as do all requests before the first service
	// starts. Defaults to 10,000.
	MaxLen int64
	// MaxWaiting and MaxWaitingBytes limit the number and the memory in Redis of all clients'
	// requests that wait or are being handled. Further calls and messages fail with ErrOverloaded.
	// Each client checks the stream ten times a second, so the limits may be exceeded a little.
	// Default to 10,000 and 256 MiB. StreamersonV1 has no such limit.
	MaxWaiting      int64
	MaxWaitingBytes int64
	// SendExpiry is how long a message of Send or FireAndForget may wait. Services skip older
	// messages and count them as Expired. Defaults to 24 hours. Negative disables the expiry.
	SendExpiry time.Duration
	// MaxPayload limits the bytes of a request. Defaults to 1 MiB.
	MaxPayload int
	// MailboxTTL is how long the stream of this client's replies outlives the client. The stream
	// holds at most 16,384 unread replies, for example of a hanging client, and takes at most
	// ServiceConfig.MailboxBytes. Beyond that the oldest are lost, and their calls time out.
	// Defaults to one minute.
	MailboxTTL time.Duration
	// User is the part of the mailbox's key that ACL rules go by: "{topic}:reply:<user>:<id>". See
	// Access. Letters, digits and "-_.@+=" are allowed, up to 100. Defaults to the user name with
	// which the Redis client logs in. It is left out for the user "default" and for names with
	// other characters.
	User string
	// Wire is the protocol of requests and replies. Defaults to this project's own. StreamersonV1
	// is for the workers of streamerson for Node.
	Wire Wire
	// Log receives the client's log messages. Defaults to the warnings and errors of slog.Default,
	// see flow.Logger.
	Log *slog.Logger
}

const (
	defaultWindow = 64
	maxWindow     = 4096

	defaultTimeout = 10 * time.Second
)

func (c ClientConfig) withDefaults() ClientConfig {
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	c.MaxInFlight = cmp.Or(c.MaxInFlight, 4096)
	c.MaxWait = cmp.Or(c.MaxWait, 250*time.Millisecond)
	c.Window = cmp.Or(c.Window, defaultWindow)
	c.MaxLen = cmp.Or(c.MaxLen, 10_000)
	c.MaxWaiting = cmp.Or(c.MaxWaiting, 10_000)
	c.MaxWaitingBytes = cmp.Or(c.MaxWaitingBytes, 256<<20)
	c.SendExpiry = cmp.Or(c.SendExpiry, 24*time.Hour)
	c.MaxPayload = cmp.Or(c.MaxPayload, 1<<20)
	c.MailboxTTL = cmp.Or(c.MailboxTTL, time.Minute)
	c.Log = flow.Thinned(c.Log)
	return c
}

func (c ClientConfig) validate() error {
	m := redisio.MistakesOf("ClientConfig")
	m.Negative("Timeout", int64(c.Timeout), "leave it 0 for 10 seconds")
	m.Negative("MaxInFlight", int64(c.MaxInFlight), "leave it 0 for 4096 calls")
	if c.Window < 0 || c.Window > maxWindow {
		m.Add("Window", "is "+strconv.Itoa(c.Window), "choose up to 4096 parts")
	}
	m.Negative("MaxLen", int64(c.MaxLen), "leave it 0 for 10,000 entries")
	m.Negative("MaxWaiting", int64(c.MaxWaiting), "leave it 0 for 10,000 requests")
	m.Negative("MaxWaitingBytes", int64(c.MaxWaitingBytes), "leave it 0 for 256 MiB")
	m.Negative("MaxPayload", int64(c.MaxPayload), "leave it 0 for 1 MiB")
	if problem := slot.CheckUser(c.User); problem != "" {
		m.Add("User", problem, `choose up to 100 letters, digits and "-_.@+="`)
	}
	if c.MailboxTTL < 0 || c.MailboxTTL > 0 && c.MailboxTTL < 5*time.Second {
		m.Add(
			"MailboxTTL",
			"is "+c.MailboxTTL.String(),
			"choose 5 seconds or more: replies that come while the client is slow would be lost",
		)
	}
	return m.Err()
}
