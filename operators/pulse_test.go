package operators_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

func TestSample(t *testing.T) {
	virtual(t, "the last value of each interval", func(t *testing.T) {
		in, out := numbers(10), &box[int]{}
		in.every, in.stays = second, true
		began := time.Now()
		r := start(t, flow.To(operators.Sample(in.source(), 2500*time.Millisecond), out.sink()))
		time.Sleep(time.Minute)
		out.want(t, 2, 5, 8, 9)
		out.after(t, began, 3500*time.Millisecond, 6500*time.Millisecond, 9500*time.Millisecond, 12500*time.Millisecond)
		in.allSettledAs(t, flow.Acked)
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	virtual(t, "the rest at the end", func(t *testing.T) {
		in, out := numbers(3), &box[int]{}
		run(t, flow.To(operators.Sample(in.source(), time.Hour), out.sink()))
		out.want(t, 2)
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "a stop gives back the message that waits", func(t *testing.T) {
		in, out := numbers(3), &box[int]{}
		in.stays = true
		r := start(t, flow.To(operators.Sample(in.source(), time.Hour), out.sink()))
		time.Sleep(second)
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		in.outcomes(t, map[int]flow.Outcome{2: flow.Nacked})
	})
}

func TestKeepAlive(t *testing.T) {
	virtual(t, "adds values while none come", func(t *testing.T) {
		in, out := newFeed(1, 2, 3), &box[int]{}
		in.every = 2500 * time.Millisecond
		began := time.Now()
		n := 0
		run(t, flow.To(operators.KeepAlive(in.source(), second, func() int {
			if n++; n == 2 {
				panic(errBoom) // is logged
			}
			return -n
		}), out.sink()))
		out.want(t, -1, 1, -3, -4, 2, -5, -6, 3)
		out.after(t, began, second, 2500*time.Millisecond, 3500*time.Millisecond, 4500*time.Millisecond, 5*second,
			6*second, 7*second, 7500*time.Millisecond)
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "none while messages wait for a slow stage behind", func(t *testing.T) {
		in, out := numbers(10), slowly[int]()
		run(
			t,
			flow.To(operators.KeepAlive(in.source(flow.ChunkSize(1)), 100*time.Millisecond, func() int { return -1 }),
				out.sink(), flow.ChunkSize(1)),
		)
		out.want(t, sequence(10)...)
	})
}

func TestWatchdog(t *testing.T) {
	for _, test := range []struct {
		name  string
		stall operators.Stall
		first time.Duration // of two values with a minute between them
		want  string
	}{
		{"first, in time", operators.NoFirst, 20 * second, ""},
		{"first, too late", operators.NoFirst, 40 * second, "no first message came for 30s"},
		{"idle, before the first", operators.Idle, 40 * second, "no message came for 30s"},
		{"idle, in between", operators.Idle, 20 * second, "no message came for 30s"},
		{"end", operators.Unended, 0, "it has not ended for 30s"},
	} {
		virtual(t, test.name, func(t *testing.T) {
			in, out := numbers(2), &box[int]{}
			n := 0
			source := operators.Map(in.source(flow.ChunkSize(1)), func(ctx context.Context, v int) (int, error) {
				if n++; n == 1 {
					return v, wait(ctx, test.first)
				}
				return v, wait(ctx, time.Minute)
			})
			guarded := operators.Watchdog(source, test.stall, 30*second)
			err := flow.New("test", flow.To(guarded, out.sink())).Run(t.Context())
			switch {
			case test.want == "" && err != nil:
				t.Errorf("%v", err)
			case test.want != "" && !errors.Is(err, flow.ErrStalled):
				t.Errorf("%v, want %s", err, test.want)
			}
			if in.open != 0 {
				t.Errorf("%d entries are not settled", in.open)
			}
		})
	}
	for _, test := range []struct {
		name  string
		takes time.Duration // of the stage behind, per message
		want  error
	}{{"blocked", time.Hour, flow.ErrStalled}, {"slow, but not blocked", 10 * second, nil}} {
		virtual(t, test.name, func(t *testing.T) {
			in := numbers(20)
			guarded := operators.Watchdog(in.source(flow.ChunkSize(1)), operators.Blocked, 30*second, flow.ChunkSize(1))
			slow := operators.Map(
				guarded,
				func(ctx context.Context, v int) (int, error) { return v, wait(ctx, test.takes) },
			)
			err := flow.New("test", flow.To(slow, discard[int]()), flow.KillGrace(second)).Run(t.Context())
			if !errors.Is(err, test.want) {
				t.Errorf("the graph ended with %v, want %v", err, test.want)
			}
			if in.open != 0 {
				t.Errorf("%d entries are not settled", in.open)
			}
		})
	}
	virtual(t, "a slow stage behind is no stall", func(t *testing.T) {
		in, out := numbers(10), slowly[int]()
		run(t, flow.To(operators.Watchdog(in.source(flow.ChunkSize(1)), operators.Idle, 100*time.Millisecond),
			out.sink(), flow.ChunkSize(1)))
		out.want(t, sequence(10)...)
	})
}
