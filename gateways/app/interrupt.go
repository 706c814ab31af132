package app

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// samePress is how long after the first interrupt further ones count as the same: terminals and process managers may
// send more than one for a single key press.
const samePress = 200 * time.Millisecond

// interruptible returns a context that is done on the first interrupt and carries the second one for Run. After stop,
// interrupts have their usual effect again.
func interruptible(ctx context.Context) (_ context.Context, stop func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	again := make(chan struct{})
	ctx, cancel := context.WithCancel(context.WithValue(ctx, forceKey{}, (<-chan struct{})(again)))
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-over:
			return
		case sig := <-signals:
			slog.Info("interrupted: finishing (once more stops at once)", "signal", sig.String())
		}
		cancel()
		for first := time.Now(); ; {
			select {
			case <-over:
				return
			case sig := <-signals:
				if time.Since(first) < samePress {
					continue
				}
				signal.Stop(signals)
				slog.Warn("interrupted again: stopping, unfinished entries are given back", "signal", sig.String())
				close(again)
				return
			}
		}
	})
	return ctx, func() {
		signal.Stop(signals)
		close(over)
		watching.Wait()
		cancel()
	}
}

type forceKey struct{}

// force is closed on the second interrupt; nil if ctx does not come from Main.
func force(ctx context.Context) <-chan struct{} {
	again, _ := ctx.Value(forceKey{}).(<-chan struct{})
	return again
}
