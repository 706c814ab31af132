package redisio

import (
	"context"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// ConnectOptions configure Connect.
type ConnectOptions struct {
	// Wait is how long Connect retries while Redis is unreachable. Zero means one try, plus a few
	// more if the connection breaks during it.
	Wait time.Duration
	// DialTimeout bounds one try. Defaults to the value in the URL, else 5 s.
	DialTimeout time.Duration
}

// Validate returns all mistakes at once.
func (o ConnectOptions) Validate() error {
	m := MistakesOf("ConnectOptions")
	m.Negative("Wait", int64(o.Wait), "leave it 0 for one try")
	m.Negative("DialTimeout", int64(o.DialTimeout), "leave it 0 for 5 s")
	return m.Err()
}

// Connect connects to Redis and checks that it answers. The caller closes the client.
//
// URLs have the syntax of go-redis: redis://user:password@host:6379/0, rediss:// with TLS,
// unix:///path?db=0. Several hosts, or ?addr=host2:port, select a cluster client
// (redis://a:7000,b:7000,c:7000). With ?master_name=name the hosts are Sentinels.
func Connect(ctx context.Context, rawURL string, o ConnectOptions) (redis.UniversalClient, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	rdb, where, err := clientFor(rawURL, o)
	if err != nil {
		return nil, err
	}
	if err := ping(ctx, rdb, o); err != nil {
		_ = rdb.Close() // created above, not owned by the caller
		return nil, fmt.Errorf("redisio: connect to %s: %w%s", where, err, fault.Advice(err))
	}
	return rdb, nil
}

func ping(ctx context.Context, rdb redis.UniversalClient, o ConnectOptions) error {
	return fault.WaitFor(ctx, o.Wait, func() error { return rdb.Ping(ctx).Err() })
}

// clientFor returns a client and its address for messages, without the password.
func clientFor(rawURL string, o ConnectOptions) (redis.UniversalClient, string, error) {
	bad := func(field, problem, fix string) error { return &ConfigError{"Connect", field, problem, fix} }
	if rawURL == "" {
		return nil, "", bad("url", "is empty", `write it as "redis://localhost:6379"`)
	}
	first, more := splitHosts(rawURL)
	u, err := url.Parse(first)
	if err != nil {
		// The text of url.Error quotes the URL and its password.
		return nil, "", bad(
			"url",
			"can't be parsed",
			`write it as "redis://user:password@host:6379/0", special characters of the password %-encoded`,
		)
	}
	shown := *u
	shown.RawQuery = "" // it may hold the password of a master
	where := shown.Redacted()
	q := u.Query()
	if len(more) > 0 {
		for _, host := range more {
			q.Add("addr", host)
		}
		u.RawQuery = q.Encode()
	}
	switch u.Scheme {
	case "redis", "rediss":
	case "unix":
		if len(more) > 0 {
			return nil, "", bad("url", "names more than one unix socket", "name one")
		}
	case "":
		return nil, "", bad("url", "has no scheme", `put "redis://" (or "rediss://" for TLS) in front`)
	default:
		return nil, "", bad("url", fmt.Sprintf("has the unknown scheme %q", u.Scheme), "use redis, rediss or unix")
	}
	fix := "see redisio.Connect for the forms it takes"
	switch {
	case q.Has("master_name"):
		opt, err := redis.ParseFailoverURL(u.String())
		if err != nil {
			return nil, "", bad("url", scrub(err, u), fix)
		}
		setTimeout(&opt.DialTimeout, o)
		opt.DialerRetries = 1 // WaitFor retries, with a backoff that ctx can end
		return redis.NewFailoverClient(opt), where, nil
	case q.Has("addr"):
		opt, err := redis.ParseClusterURL(u.String())
		if err != nil {
			return nil, "", bad("url", scrub(err, u), fix)
		}
		setTimeout(&opt.DialTimeout, o)
		opt.DialerRetries = 1
		return redis.NewClusterClient(opt), where, nil
	}
	opt, err := redis.ParseURL(u.String())
	if err != nil {
		return nil, "", bad("url", scrub(err, u), fix)
	}
	setTimeout(&opt.DialTimeout, o)
	opt.DialerRetries = 1
	return redis.NewClient(opt), where, nil
}

func setTimeout(dst *time.Duration, o ConnectOptions) {
	if o.DialTimeout > 0 {
		*dst = o.DialTimeout
	}
}

// splitHosts cuts "redis://a:1,b:2/0" into "redis://a:1/0" and ["b:2"]. The password may contain commas.
func splitHosts(rawURL string) (first string, more []string) {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok || scheme == "unix" {
		return rawURL, nil
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host := strings.LastIndexByte(rest[:end], '@') + 1
	hosts := strings.Split(rest[host:end], ",")
	return scheme + "://" + rest[:host] + hosts[0] + rest[end:], hosts[1:]
}

// scrub removes the password from an error of a URL parser.
func scrub(err error, u *url.URL) string {
	text := strings.TrimPrefix(err.Error(), "redis: ")
	if password, ok := u.User.Password(); ok && password != "" {
		text = strings.ReplaceAll(text, password, "xxxxx")
		text = strings.ReplaceAll(text, url.QueryEscape(password), "xxxxx")
	}
	return text
}

// IsNilClient reports whether rdb is nil or holds a nil pointer.
func IsNilClient(rdb redis.UniversalClient) bool {
	if rdb == nil {
		return true
	}
	v := reflect.ValueOf(rdb)
	return v.Kind() == reflect.Pointer && v.IsNil()
}
