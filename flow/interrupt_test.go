//go:build unix

package flow

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

func interruptSelf(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Error(err)
	}
}

// One interrupt drains: messages already read are finished.
func TestInterruptDrains(t *testing.T) {
	src, out := newScript(1), &bag[int]{}
	src.forever = true
	slow := mapTo(src.source(), func(_ context.Context, v int) (int, error) {
		interruptSelf(t)
		return v, nil
	})
	if err := New("g", To(slow, out.sink())).RunUntilInterrupt(t.Context()); err != nil {
		t.Error(err)
	}
	src.wantAllAcked(t)
}

// The second stops: the handler is cancelled, and its message is given back.
func TestInterruptTwiceStops(t *testing.T) {
	caught := make(chan os.Signal, 1) // a third one must not end the tests
	signal.Notify(caught, os.Interrupt)
	defer signal.Stop(caught)
	src := newScript(1)
	src.forever = true
	stuck := mapTo(src.source(), func(ctx context.Context, v int) (int, error) {
		interruptSelf(t)
		again := time.NewTicker(10 * time.Millisecond) // a signal may merge with the one just before it
		defer again.Stop()
		for {
			select {
			case <-again.C:
				interruptSelf(t)
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			}
		}
	})
	r := New("g", To(stuck, (&bag[int]{}).sink()), DrainTimeout(time.Hour))
	if err := r.RunUntilInterrupt(t.Context()); err != nil && !errors.Is(err, ErrStopped) {
		t.Error(err)
	}
	src.wantOutcomes(t, func(int) Outcome { return Nacked })
}

// Two signals of one press of a key are one.
func TestFault_O3_TwoSignalsOfOnePress(t *testing.T) {
	src, out := newScript(1), &bag[int]{}
	src.forever = true
	ended := make(chan struct{})
	slow := mapTo(src.source(), func(ctx context.Context, v int) (int, error) {
		interruptSelf(t)
		<-DrainStarted(ctx)
		interruptSelf(t) // at once after the first
		select {
		case <-ended:
			return v, nil
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	})
	time.AfterFunc(samePress, func() { close(ended) })
	if err := New("g", To(slow, out.sink())).RunUntilInterrupt(t.Context()); err != nil {
		t.Error(err)
	}
	src.wantAllAcked(t)
}
