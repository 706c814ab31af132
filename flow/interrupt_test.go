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
	caught := catch(t)
	src := newScript(1)
	src.forever = true
	stuck := mapTo(src.source(), func(ctx context.Context, v int) (int, error) {
		interruptSelf(t)
		<-caught
		<-DrainStarted(ctx)
		for { // on a slow machine the next signal may count as the same press
			select {
			case <-time.After(samePress + 10*time.Millisecond):
				interruptSelf(t)
				<-caught
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			}
		}
	})
	r := New("g", To(stuck, (&bag[int]{}).sink()), DrainTimeout(time.Hour), KillGrace(time.Minute))
	if err := r.RunUntilInterrupt(t.Context()); err != nil && !errors.Is(err, ErrStopped) {
		t.Error(err)
	}
	src.wantOutcomes(t, func(int) Outcome { return Nacked })
}

// catch returns a channel of all interrupts, so that none ends the tests. The caller must receive each before it
// sends the next, because two that wait become one.
func catch(t *testing.T) <-chan os.Signal {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, os.Interrupt)
	t.Cleanup(func() { signal.Stop(caught) })
	return caught
}

// Two signals of one press of a key are one.
func TestFault_O3_TwoSignalsOfOnePress(t *testing.T) {
	for range 10 { // a delay between the two signals makes two presses of them
		if onePress(t) {
			return
		}
	}
	t.Error("two signals at once were always two presses")
}

// onePress sends two signals, and returns false if the second stopped the graph.
func onePress(t *testing.T) bool {
	caught := catch(t)
	src, out := newScript(1), &bag[int]{}
	src.forever = true
	one := true
	slow := mapTo(src.source(), func(ctx context.Context, v int) (int, error) {
		interruptSelf(t)
		<-caught
		<-DrainStarted(ctx)
		interruptSelf(t) // at once after the first
		<-caught
		select {
		case <-time.After(samePress):
			return v, nil
		case <-ctx.Done():
			one = false
			return 0, context.Cause(ctx)
		}
	})
	g := New("g", To(slow, out.sink()), DrainTimeout(time.Minute), KillGrace(time.Minute))
	err := g.RunUntilInterrupt(t.Context())
	if !one {
		return false
	}
	if err != nil {
		t.Error(err)
	}
	src.wantAllAcked(t)
	return true
}
