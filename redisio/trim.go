package redisio

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// TrimOptions say what Trim may drop.
type TrimOptions struct {
	Before ID    // drop entries before this ID; with the zero ID, and no MaxLen, all that every group is done with
	MaxLen int64 // drop what is beyond this many entries; 0: whatever their number
	Exact  bool  // to the entry; the default frees whole nodes only, which is cheaper
}

// Trim drops old entries that every consumer group has read and settled, and no others: what is pending
// or not delivered stays. It is what a writer's retention does as it writes, for those who choose the time
// themselves. A stream without groups is trimmed as the options say; without any, nothing of it goes. Trim returns how many
// entries went.
func Trim(ctx context.Context, rdb redis.UniversalClient, key string, o TrimOptions) (int64, error) {
	minID, maxLen, how := "", int64(-1), "~"
	switch {
	case !o.Before.IsZero():
		minID = o.Before.String()
	case o.MaxLen == 0:
		minID = "+"
	}
	if o.MaxLen > 0 {
		maxLen = o.MaxLen
	}
	if o.Exact {
		how = "="
	}
	n, err := rdb.Eval(ctx, scriptRetain, []string{key}, maxLen, minID, -1, "keep", how, "", -1, "keep").Int64Slice()
	if err == nil && len(n) != 3 {
		err = &ReplyError{0, "the script answered something else than three numbers"}
	}
	if err != nil {
		return 0, fmt.Errorf("redisio: trim %q: %w", keyName(key), err)
	}
	return n[0], nil
}
