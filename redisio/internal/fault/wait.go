package fault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// CutTries is the number of tries if an established connection breaks. A server restart, CLIENT
// KILL or a moving proxy does not mean that Redis is unreachable.
const CutTries = 5

// WaitFor calls try until it succeeds, the answer is permanent, ctx ends or wait has passed.
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

// MaxDelay is the longest delay of an entry. Longer ones could overflow.
const MaxDelay = 100 * 365 * 24 * time.Hour
