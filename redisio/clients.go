package redisio

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// replyMargin is how much longer than BLOCK a read waits for its reply before the connection counts as dead.
const replyMargin = 5 * time.Second

// client is a client for one purpose, derived from the caller's, or the caller's own where deriving
// is impossible. Only a derived one is ever closed.
type client struct {
	redis.UniversalClient
	cluster *redis.ClusterClient
	derived bool
}

// purpose says how a derived client differs from the caller's.
type purpose struct {
	conns       int           // connections at most
	readTimeout time.Duration // 0: the caller's
	retries     bool          // leave the caller's retries on: only where every command may be repeated
}

// noMaintenance turns off the notifications of maintenance that some providers send: our loops reconnect by themselves.
func noMaintenance() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// derive makes a client for one purpose with the caller's addresses, dialer, credentials and TLS.
//
// Nothing is dialled here. Client-side caching and push handlers are left out: they are no help to
// streams, and one push processor can't serve two clients.
func derive(rdb redis.UniversalClient, p purpose) client {
	switch c := rdb.(type) {
	case *redis.Client: // also what NewFailoverClient returns: its dialer asks the Sentinels
		o := *c.Options()
		o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns, o.MaxConcurrentDials = p.conns, 0, 0, 0, 0
		o.PipelinePoolSize = -1 // one pool is enough: nothing else competes for it
		o.ReadBufferSize, o.WriteBufferSize = max(o.ReadBufferSize, 128<<10), max(o.WriteBufferSize, 128<<10)
		o.DialerRetries = 1
		o.ContextTimeoutEnabled = true
		o.Protocol = 2                               // no pushes: go-redis looks for them before each reply of a pipeline
		o.MaintNotificationsConfig = noMaintenance() // the caller's is written to while the caller's client connects
		o.PoolTimeout = 0
		o.ClientSideCache, o.ClientSideCacheConfig, o.PushNotificationProcessor = nil, nil, nil
		o.MaxRetries = retries(o.MaxRetries, p)
		o.MinRetryBackoff, o.MaxRetryBackoff = orOff(o.MinRetryBackoff), orOff(o.MaxRetryBackoff)
		o.ReadTimeout, o.WriteTimeout = timeout(o.ReadTimeout, p), orOff(o.WriteTimeout)
		own := redis.NewClient(&o)
		own.AddHook(&stray{most: p.conns})
		return client{UniversalClient: own, derived: true}
	case *redis.ClusterClient:
		o := *c.Options()
		o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns, o.MaxConcurrentDials = p.conns, 0, 0, 0, 0
		o.PipelinePoolSize = -1
		o.ReadBufferSize, o.WriteBufferSize = max(o.ReadBufferSize, 128<<10), max(o.WriteBufferSize, 128<<10)
		o.DialerRetries = 1
		o.ContextTimeoutEnabled = true
		o.Protocol = 2                               // no pushes: go-redis looks for them before each reply of a pipeline
		o.MaintNotificationsConfig = noMaintenance() // the caller's is written to while the caller's client connects
		o.PoolTimeout = 0
		o.MaxRetries = -1
		o.ReadOnly, o.RouteByLatency, o.RouteRandomly = false, false, false
		if !p.retries || o.MaxRedirects == 0 {
			// A cluster client repeats a command after a broken connection as if it had been redirected: see nodes.
			o.MaxRedirects = -1
		}
		o.MinRetryBackoff, o.MaxRetryBackoff = orOff(o.MinRetryBackoff), orOff(o.MaxRetryBackoff)
		o.ReadTimeout, o.WriteTimeout = timeout(o.ReadTimeout, p), orOff(o.WriteTimeout)
		cc := newCluster(&o, o.MaxRedirects < 0)
		return client{UniversalClient: cc, cluster: cc, derived: true}
	}
	return client{UniversalClient: rdb}
}

// Options() shows settings as go-redis normalised them: what was -1 ("off") reads 0 ("default").

func orOff(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func retries(n int, p purpose) int {
	if !p.retries || n == 0 {
		return -1
	}
	return n
}

func timeout(d time.Duration, p purpose) time.Duration {
	if p.readTimeout > 0 {
		return p.readTimeout
	}
	return orOff(d)
}

func (c client) close() error {
	if !c.derived {
		return nil
	}
	return c.Close()
}

// redirected learns the new place of a slot. A raw reply hides MOVED from go-redis.
func (c client) redirected() bool {
	if c.cluster == nil {
		return false
	}
	c.cluster.ReloadState(context.Background()) // lazy: it does no I/O here
	return true
}
