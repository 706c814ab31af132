package reader

import (
	"context"
	"fmt"
	"strings"

	"github.com/streamerson/streamerson-go/redisio"
)

// warnOfEviction says so when the server deletes whole streams, with all that is pending, as soon
// as its memory is full. A server that does not let itself be asked is not.
func (r *Group) warnOfEviction(ctx context.Context) {
	info, err := r.reading.Info(ctx, "memory").Result()
	if err != nil {
		return
	}
	_, rest, _ := strings.Cut(info, "maxmemory_policy:")
	policy, _, _ := strings.Cut(rest, "\n")
	if policy = strings.TrimSpace(policy); strings.HasPrefix(policy, "allkeys-") {
		r.emit(
			redisio.Event{
				Kind: redisio.EventEvictable,
				Err: fmt.Errorf("redisio: maxmemory-policy is %s: a full server deletes streams; "+
					"choose noeviction or a volatile-* policy", policy),
			},
		)
	}
}
