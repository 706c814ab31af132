package rig

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/embedded"
)

// Server starts a private redis-server. A real program connects to its own server with
// redisio.Connect.
func Server(ctx context.Context) (redis.UniversalClient, func() error) {
	rdb, _, done, err := embedded.Open(ctx, "")
	if err != nil {
		panic(err)
	}
	return rdb, done
}
