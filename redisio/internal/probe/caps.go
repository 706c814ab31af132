package probe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// Probe detects the capabilities of the server by trying each one on a scratch key, which it
// deletes. Version numbers are unreliable, because forks and services report arbitrary ones. Probe
// once per client and keep the answer. Probe again after a failover to other servers.
func Probe(ctx context.Context, rdb redis.UniversalClient) (c redisio.Capabilities, err error) {
	key := "redisio:probe:{" + rand.Text()[:12] + "}"
	if err := rdb.XGroupCreateMkStream(ctx, key, "g", "0").Err(); err != nil {
		return c, fmt.Errorf("redisio: probe: %w", err)
	}
	defer func() {
		// Delete the scratch key even if ctx has ended.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if delErr := rdb.Del(clean, key).Err(); delErr != nil && err == nil {
			err = fmt.Errorf("redisio: probe: delete scratch key %q: %w", key, delErr)
		}
	}()
	for _, p := range []struct {
		has  *bool
		args []any
	}{
		{&c.Claim, []any{"xreadgroup", "group", "g", "c", "count", 1, "claim", 1000, "streams", key, ">"}},
		{&c.MaxSize, []any{"xreadgroup", "group", "g", "c", "count", 1, "maxsize", 1000, "streams", key, ">"}},
		{&c.XNack, []any{"xnack", key, "g", "SILENT", "ids", 1, "1-1"}},
		{&c.XAckDel, []any{"xackdel", key, "g", "KEEPREF", "ids", 1, "1-1"}},
		{&c.IDMP, []any{"xadd", key, "IDMP", "p", "i", "*", "f", "v"}},
	} {
		err := rdb.Do(ctx, p.args...).Err()
		switch {
		case err == nil || errors.Is(err, redis.Nil):
			*p.has = true
		case !fault.IsServerSaid(err):
			return c, fmt.Errorf("redisio: probe: %w", err)
		case fault.Judge(err) != fault.Permanent:
			return c, fmt.Errorf("redisio: probe: %w", err) // the server can't answer now
		}
	}
	return c, nil
}
