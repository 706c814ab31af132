package eventstore

import (
	"context"
	"errors"
	"time"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// RetryConflicts calls f until it returns no conflict, at most tries times, and returns its last
// error. f loads the aggregate, decides and appends. The pauses between the calls grow from about
// 1ms to 20ms, so that many callers do not stay in step.
func RetryConflicts(ctx context.Context, tries int, f func() error) error {
	for n := 1; ; n++ {
		err := f()
		if !errors.Is(err, ErrConflict) || n >= tries {
			return err
		}
		if !fault.Sleep(ctx, nil, min(fault.Backoff(n)/16, 20*time.Millisecond)) {
			return errors.Join(fault.Ended(ctx), err)
		}
	}
}
