package cli

import (
	"context"
	"log/slog"
	"net"
	"os"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/embedded"
)

// Place is where an example runs.
type Place struct {
	Redis    redis.UniversalClient
	Listener net.Listener // nil without an address
	URL      string       // what to open in a browser

	close func() error
}

// Open listens on an address, unless it is empty, and opens the Redis that REDIS_URL names, or one of its own. Close it.
func Open(ctx context.Context, addr string, log *slog.Logger) (*Place, error) {
	p := &Place{}
	var err error
	if addr != "" { // a port that is taken is no reason to do all the rest
		if p.Listener, p.URL, err = listen(addr); err != nil {
			return nil, err
		}
	}
	var where string
	if p.Redis, where, p.close, err = embedded.Open(ctx, os.Getenv("REDIS_URL")); err != nil {
		p.Close()
		return nil, err
	}
	log.Info(where)
	return p, nil
}

// Close ends what Open began.
func (p *Place) Close() {
	if p.close != nil {
		_ = p.close() // the program ends
	}
	if p.Listener != nil {
		_ = p.Listener.Close() // a server has closed it, mostly
	}
}
