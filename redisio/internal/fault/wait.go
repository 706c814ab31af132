package fault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// CutTries is how often something is tried whose connection was there and broke: a server that
// restarts, an administrator's CLIENT KILL and a proxy that moves say nothing of whether Redis can
// be reached.
const CutTries = 5

// WaitFor tries until it works, the answer is permanent, ctx ends or wait has passed.
func WaitFor(ctx context.Context, wait time.Duration, try func() error) error {
	deadline := time.Now().Add(wait)
	for n := 1; ; n++ {
		err := try()
		v := Judge(err)
		if v == Fine || v == Permanent {
			return err
		}
		pause := min(Backoff(n), time.Until(deadline))
		if pause <= 0 {
			if !IsCut(err) || n >= CutTries {
				if wait > 0 {
					err = fmt.Errorf("tried for %v: %w", wait, err)
				}
				return err
			}
			pause = Backoff(n)
		}
		if !Sleep(ctx, nil, pause) {
			return errors.Join(Ended(ctx), err)
		}
	}
}

// MaxDelay is how long an entry can be put off: what is more would overflow, and is as good as for ever.
const MaxDelay = 100 * 365 * 24 * time.Hour
