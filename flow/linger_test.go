package flow

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// lingers runs a source of n values that lingers, some at a time, each of which takes its time, and returns how many had been
// handled at each read.
func lingers(t *testing.T, n, perRead int, linger, each time.Duration) (handled []int) {
	t.Helper()
	var done atomic.Int64
	src := newScript(n, Linger(linger))
	src.perRead = perRead
	src.readErr = func(next int) error {
		if next%perRead == 0 {
			handled = append(handled, int(done.Load()))
		}
		return nil
	}
	work := func(ctx context.Context, v int) (int, error) {
		time.Sleep(each) // of the bubble
		done.Add(1)
		return v, nil
	}
	synctest.Test(t, func(t *testing.T) {
		out := &bag[int]{}
		if err := New("g", To(mapTo(src.source(), work, Workers(max(perRead, 2)), Unordered()), out.sink())).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		src.wantAllAcked(t)
	})
	return handled
}

func TestLinger(t *testing.T) {
	for i, n := range lingers(t, 100, 5, time.Second, time.Millisecond) {
		if n != 5*i {
			t.Errorf("read %d began when %d of %d were handled", i, n, 5*i)
		}
	}
}

// What takes longer is not waited for: once, and then for many reads not even tried.
func TestLingerIsNoBound(t *testing.T) {
	handled := lingers(t, 400, 10, time.Millisecond, time.Second)
	if handled[1] != 0 || handled[5] != 0 {
		t.Errorf("%v", handled)
	}
}

// Entries that come one by one have nothing to be read with.
func TestLingerOfOne(t *testing.T) {
	if handled := lingers(t, 8, 1, time.Minute, time.Second); handled[1] != 0 {
		t.Errorf("%v", handled)
	}
}

func TestLingerNeedsATime(t *testing.T) {
	err := New("g", To(newScript(1, Linger(0)).source(), (&bag[int]{}).sink())).Validate()
	var wrong *BuildError
	if !errors.As(err, &wrong) || fmt.Sprint(wrong.Field) != "Linger" {
		t.Errorf("%v", err)
	}
}
