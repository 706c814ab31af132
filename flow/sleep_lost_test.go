package flow

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A handler that sleeps makes its lane flush. If a sink of the lane then writes an entry that is
// lost, the handler's context is not cancelled, because its message is another one.
func TestLeaseLostInASinkOfASleepersLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newLeased(2)
		var slept error
		paced := mapTo(src.source(), func(ctx context.Context, v int) (int, error) {
			if v == 1 {
				if err := Sleep(ctx, time.Second); err != nil {
					slept = err
					return 0, err
				}
			}
			return v, nil
		}, OnFault(Stop))
		var got []int
		w := NewSink("slow", func() Writer[int] {
			return WriterFunc[int](func(ctx context.Context, chunk []Message[int]) error {
				select {
				case <-time.After(time.Minute):
				case <-ctx.Done():
					return context.Cause(ctx)
				}
				for _, m := range chunk {
					got = append(got, m.Value)
				}
				return nil
			})
		})
		r := start(t, New("g", To(paced, w)))
		time.Sleep(time.Second)
		src.lose([]string{"0"})
		if err := r.Wait(); err != nil {
			t.Error(err)
		}
		if slept != nil {
			t.Errorf("1 was interrupted: %v", slept)
		}
		if !slices.Equal(got, []int{1}) {
			t.Errorf("written: %v, want 1 only", got)
		}
		src.wantLost(t, 0)
	})
}

// The reverse case: if the handler's entry is lost while it waits for a sink of its lane, the
// handler is interrupted when the write is done.
func TestLeaseLostOfASleeperWhileItsLaneWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newLeased(2)
		paced := mapTo(src.source(), func(ctx context.Context, v int) (int, error) {
			if v == 1 {
				if err := Sleep(ctx, time.Hour); err != nil {
					return 0, err
				}
			}
			return v, nil
		}, OnFault(Stop))
		r := start(t, New("g", To(paced, (&bag[int]{slow: time.Minute}).sink())))
		began := time.Now()
		time.Sleep(time.Second)
		src.lose([]string{"1"})
		if err := r.Wait(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("the lost one went on until %v", took)
		}
		src.wantLost(t, 1)
	})
}
