package app

import (
	"context"
	"log/slog"
	"os"

	"github.com/streamerson/streamerson-go/flow"
)

// interruptible returns a context that is done on the first interrupt and carries the second one for Run. After stop,
// interrupts have their usual effect again.
func interruptible(ctx context.Context) (_ context.Context, stop func()) {
	again := make(chan struct{})
	ctx, cancel := context.WithCancel(context.WithValue(ctx, forceKey{}, (<-chan struct{})(again)))
	end := flow.OnInterrupt(func(sig os.Signal) {
		slog.Info("interrupted: finishing (once more stops at once)", "signal", sig.String())
		cancel()
	}, func(sig os.Signal) {
		slog.Warn("interrupted again: stopping, unfinished entries are given back", "signal", sig.String())
		close(again)
	})
	return ctx, func() {
		end()
		cancel()
	}
}

type forceKey struct{}

// force is closed on the second interrupt; nil if ctx does not come from Main.
func force(ctx context.Context) <-chan struct{} {
	again, _ := ctx.Value(forceKey{}).(<-chan struct{})
	return again
}
