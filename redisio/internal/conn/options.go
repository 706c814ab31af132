package conn

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// ReplyMargin is how much longer than BLOCK a read waits for its reply before it considers the
// connection dead.
const ReplyMargin = 5 * time.Second

// Client is a client for one purpose. It is derived from the caller's client, or is the caller's
// own if deriving is impossible. Only a derived one is ever closed.
type Client struct {
	redis.UniversalClient
	Cluster *redis.ClusterClient
	Derived bool
}

// Purpose describes how a derived client differs from the caller's.
type Purpose struct {
	Conns       int           // most connections
	ReadTimeout time.Duration // 0: the caller's
	Retries     bool          // keep the caller's retries; requires that every command may be repeated
}

// noMaintenance disables the maintenance notifications of some providers, because our loops
// reconnect by themselves.
func noMaintenance() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// Derive returns a client for one purpose with the caller's addresses, dialer, credentials and TLS.
//
// Derive does not dial. It drops client-side caching and push handlers, because they do not help
// streams and one push processor can't serve two clients.
func Derive(rdb redis.UniversalClient, p Purpose) Client {
	switch c := rdb.(type) {
	case *redis.Client: // also the type of a failover client: its dialer asks the Sentinels
		o := *c.Options()
		bare(&o, p.Conns)
		o.ReadBufferSize, o.WriteBufferSize = max(o.ReadBufferSize, 128<<10), max(o.WriteBufferSize, 128<<10)
		o.MaxRetries, o.ReadTimeout = retries(o.MaxRetries, p), timeout(o.ReadTimeout, p)
		own := redis.NewClient(&o)
		own.AddHook(&stray{most: p.Conns})
		return Client{UniversalClient: own, Derived: true}
	case *redis.ClusterClient:
		o := *c.Options()
		o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns, o.MaxConcurrentDials = p.Conns, 0, 0, 0, 0
		o.PipelinePoolSize = -1 // see bare
		o.ReadBufferSize, o.WriteBufferSize = max(o.ReadBufferSize, 128<<10), max(o.WriteBufferSize, 128<<10)
		o.DialerRetries = 1
		o.ContextTimeoutEnabled = true
		o.Protocol, o.MaintNotificationsConfig = 2, noMaintenance()
		o.PoolTimeout = 0
		o.MaxRetries = -1
		o.ReadOnly, o.RouteByLatency, o.RouteRandomly = false, false, false
		if !p.Retries || o.MaxRedirects == 0 {
			// A cluster client repeats a command after a broken connection as if it had been
			// redirected, see nodes.
			o.MaxRedirects = -1
		}
		o.MinRetryBackoff, o.MaxRetryBackoff = orOff(o.MinRetryBackoff), orOff(o.MaxRetryBackoff)
		o.ReadTimeout, o.WriteTimeout = timeout(o.ReadTimeout, p), orOff(o.WriteTimeout)
		cc := newCluster(&o, o.MaxRedirects < 0)
		return Client{UniversalClient: cc, Cluster: cc, Derived: true}
	}
	return Client{UniversalClient: rdb}
}

// bare prepares options for a client of our own with conns connections. RESP2 has no pushes, for
// which go-redis would look before each reply of a pipeline.
func bare(o *redis.Options, conns int) {
	o.Protocol = 2
	o.MaintNotificationsConfig = noMaintenance() // the caller's is written to while the caller's client connects
	o.ClientSideCache, o.ClientSideCacheConfig, o.PushNotificationProcessor = nil, nil, nil
	o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns, o.MaxConcurrentDials = conns, 0, 0, 0, 0
	o.PipelinePoolSize = -1 // one pool is enough: it has no other users
	o.PoolTimeout = 0
	o.DialerRetries = 1
	o.ContextTimeoutEnabled = true
	o.MinRetryBackoff, o.MaxRetryBackoff = orOff(o.MinRetryBackoff), orOff(o.MaxRetryBackoff)
	o.WriteTimeout = orOff(o.WriteTimeout)
}

// Options() returns settings as normalised by go-redis: -1 ("off") reads as 0 ("default").

func orOff(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func retries(n int, p Purpose) int {
	if !p.Retries || n == 0 {
		return -1
	}
	return n
}

func timeout(d time.Duration, p Purpose) time.Duration {
	if p.ReadTimeout > 0 {
		return p.ReadTimeout
	}
	return orOff(d)
}

// Release closes the client, unless it is the caller's.
func (c Client) Release() error {
	if !c.Derived {
		return nil
	}
	return c.Close()
}

// Redirected reloads the slots of a cluster, because go-redis does not see MOVED in a raw reply. It
// returns false without a cluster.
func (c Client) Redirected() bool {
	if c.Cluster == nil {
		return false
	}
	c.Cluster.ReloadState(context.Background()) // lazy: does no I/O here
	return true
}

// Single returns the client, and true if its connections can be taken over. It returns false for a
// client that wraps another one, and for a cluster, where a pipeline uses several connections.
func (c Client) Single() (*redis.Client, bool) {
	single, is := c.UniversalClient.(*redis.Client)
	return single, is && c.Derived
}
