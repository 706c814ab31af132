package schedule

import (
	"context"
	"errors"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// Keeper is a loop in the background: a mover (see [Scheduler.Keep]) or a ticker (see [Ticker.Keep]).
type Keeper struct {
	stop context.CancelCauseFunc
	done chan struct{}
	err  error // once done is closed
}

// keep runs a loop until its context ends. If the loop ends by itself, keep calls ended.
func keep(run func(context.Context) error, ended func(error)) *Keeper {
	ctx, stop := context.WithCancelCause(context.Background())
	k := &Keeper{stop: stop, done: make(chan struct{})}
	go func() { // ends when Stop is called, which waits for it
		defer close(k.done)
		if err := run(ctx); !errors.Is(err, redisio.ErrClosed) {
			k.err = err
			if ended != nil {
				fault.Notify("ended of Keep", func() { ended(err) })
			}
		}
	}()
	return k
}

// Done is closed when the loop has ended.
func (k *Keeper) Done() <-chan struct{} { return k.done }

// Stop ends the loop and waits for its end. If a *PermanentError ended it before, Stop returns it.
func (k *Keeper) Stop() error {
	k.stop(redisio.ErrClosed)
	<-k.done
	return k.err
}
