package operators_test

import (
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

// about reports whether two durations differ by no more than the rounding of a rate.
func about(a, b time.Duration) bool { return (a - b).Abs() < time.Millisecond }

func TestThrottle(t *testing.T) {
	virtual(t, "evenly", func(t *testing.T) {
		in, out := numbers(21), &box[int]{}
		began := time.Now()
		run(t, flow.To(operators.Throttle(in.source(), 10, time.Second, 1), out.sink()))
		out.want(t, sequence(21)...)
		in.allSettledAs(t, flow.Acked)
		for i, at := range out.at {
			if got, want := at.Sub(began), time.Duration(i)*100*time.Millisecond; !about(got, want) {
				t.Fatalf("message %d passed after %v, want %v", i, got, want)
			}
		}
	})
	virtual(t, "a burst at once, then evenly", func(t *testing.T) {
		in, out := numbers(10), &box[int]{}
		began := time.Now()
		run(t, flow.To(operators.Throttle(in.source(), 2, time.Minute, 4), out.sink()))
		for i, at := range out.at {
			if got, want := at.Sub(began), time.Duration(max(0, i-3))*30*time.Second; !about(got, want) {
				t.Fatalf("message %d passed after %v, want %v", i, got, want)
			}
		}
	})
	virtual(t, "quiet times fill the burst and no more", func(t *testing.T) {
		in, out := numbers(3), &box[int]{}
		in.every = time.Minute
		more := numbers(10)
		all := operators.FanIn(in.source(), more.source(flow.Name("more")))
		began := time.Now()
		run(t, flow.To(operators.Throttle(all, 1, time.Second, 3), out.sink()))
		if n, took := len(out.values()), out.at[12].Sub(began); n != 13 || !about(took, 3*time.Minute) {
			t.Errorf("%d messages, the last after %v", n, took)
		}
	})
	virtual(t, "a drain goes on at the pace", func(t *testing.T) {
		in, out := numbers(20), &box[int]{}
		in.stays = true
		began := time.Now()
		r := start(t, flow.To(operators.Throttle(in.source(), 1, time.Second, 1), out.sink()))
		time.Sleep(4500 * time.Millisecond)
		if _, err := r.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		out.want(t, sequence(20)...)
		in.allSettledAs(t, flow.Acked)
		if took := time.Since(began); took < 19*time.Second || took > 20*time.Second {
			t.Errorf("20 messages at one a second took %v", took)
		}
	})
	virtual(t, "a stop ends the wait at once", func(t *testing.T) {
		in, out := numbers(20), &box[int]{}
		r := start(t, flow.To(operators.Throttle(in.source(), 1, time.Hour, 5), out.sink()))
		time.Sleep(time.Minute)
		out.want(t, 0, 1, 2, 3, 4) // the burst passes without waiting for the next message
		before := time.Now()
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(before); took > 0 {
			t.Errorf("Stop took %v", took)
		}
		in.unfinished(t, out.values())
	})
	virtual(t, "credits bound what waits", func(t *testing.T) {
		in, out := numbers(100), &box[int]{}
		run(t, flow.To(operators.Throttle(in.source(flow.MaxInFlight(8)), 100, time.Second, 1), out.sink()))
		if in.most > 8 {
			t.Errorf("%d entries in flight, the source has credits for 8", in.most)
		}
		in.allSettledAs(t, flow.Acked)
	})
}
