package flow_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
)

// late holds numbers for a minute, and sends them on one output each by their parity. The ring
// fails on a 13.
type late struct {
	held []flow.Held[int]
	due  time.Time
}

func (l *late) hold(ctx context.Context, m flow.Message[int]) error {
	if len(l.held) == 0 {
		l.due = time.Now().Add(time.Minute)
	}
	l.held = append(l.held, flow.Hold(ctx, m))
	return nil
}

func (l *late) Next() time.Time { return l.due }

func (l *late) send(ctx context.Context, emit func(flow.Message[int])) error {
	for i := range l.held {
		if l.held[i].Value == 13 {
			return errors.New("thirteen")
		}
		emit(flow.Join(ctx, l.held[i].Value, l.held[i:i+1]))
	}
	l.held, l.due = nil, time.Time{}
	return nil
}

type lateRoute struct{ late }

func (l *lateRoute) Handle(ctx context.Context, m flow.Message[int], _ flow.RouteEmit[int]) error {
	return l.hold(ctx, m)
}

func (l *lateRoute) Ring(ctx context.Context, emit flow.RouteEmit[int]) error {
	return l.send(ctx, func(m flow.Message[int]) {
		if m.Value < 0 {
			emit(7, m) // there is no such port
			return
		}
		emit(m.Value%2, m)
	})
}

func (l *lateRoute) End(ctx context.Context, emit flow.RouteEmit[int]) error {
	return l.Ring(ctx, emit)
}

type lateFork struct{ late }

func (l *lateFork) Handle(ctx context.Context, m flow.Message[int], _, _ flow.Emit[int]) error {
	return l.hold(ctx, m)
}

func (l *lateFork) Ring(ctx context.Context, a, b flow.Emit[int]) error {
	return l.send(ctx, func(m flow.Message[int]) {
		if m.Value%2 == 0 {
			a(m)
		} else {
			b(m)
		}
	})
}

func (l *lateFork) End(ctx context.Context, a, b flow.Emit[int]) error { return l.Ring(ctx, a, b) }

// lates are a Route and a Fork stage with a timer.
var lates = map[string]func(flow.Source[int]) (even, odd flow.Source[int]){
	"route": func(in flow.Source[int]) (even, odd flow.Source[int]) {
		outs := flow.RouteVia(in, "late", 2,
			func() flow.RouteHandler[int, int] { return &lateRoute{} }, flow.Traits{Holds: 100, HoldsFor: time.Minute})
		return outs[0], outs[1]
	},
	"fork": func(in flow.Source[int]) (even, odd flow.Source[int]) {
		return flow.ForkVia(
			in,
			"late",
			func() flow.ForkHandler[int, int, int] { return &lateFork{} },
			flow.Traits{Holds: 100, HoldsFor: time.Minute},
		)
	},
}

// The timer rings both while messages arrive and while none do. The handler is called at the end of
// the input.
func TestFault_O5_TimersOfStagesWithSeveralOutputs(t *testing.T) {
	for name, open := range lates {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src, feed := flowtest.Feed[int](t)
				even, odd := open(src)
				evens, gotEven := flowtest.Collect[int](t, flow.Name("evens"))
				odds, gotOdd := flowtest.Collect[int](t, flow.Name("odds"))
				r := flowtest.Start(t, flow.To(even, evens), flow.To(odd, odds))
				feed.Send(1, 2, 3)
				time.Sleep(59 * time.Second)
				synctest.Wait()
				if n := len(gotEven.Values()) + len(gotOdd.Values()); n > 0 {
					t.Errorf("%d values before it was time", n)
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if d := cmp.Diff([][]int{{2}, {1, 3}}, [][]int{gotEven.Values(), gotOdd.Values()}); d != "" {
					t.Errorf("after the ring (-want +got):\n%s", d)
				}
				feed.WantAcked(1, 2, 3)
				for i := range 100 { // it rings between messages, too
					feed.Send(100 + i)
					time.Sleep(time.Second)
				}
				synctest.Wait()
				if n := len(gotEven.Values()); n < 30 {
					t.Errorf("%d values while others came", n)
				}
				feed.Send(5)
				feed.Close()
				if err := r.Wait(); err != nil {
					t.Error(err)
				}
				if all := gotOdd.Values(); all[len(all)-1] != 5 {
					t.Errorf("the last value is not sent at the end: %v", all)
				}
			})
		})
	}
}

// A ring that fails or uses a port that does not exist fails the stage. The messages that the stage
// held are delivered again.
func TestFault_O5_RingFails(t *testing.T) {
	for name, open := range lates {
		for _, wrong := range []int{13, -1} {
			if name == "fork" && wrong < 0 {
				continue
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					src, feed := flowtest.Feed[int](t)
					even, odd := open(src)
					evens, got := flowtest.Collect[int](t, flow.Name("evens"))
					odds, _ := flowtest.Collect[int](t, flow.Name("odds"))
					r := flowtest.Start(t, flow.To(even, evens), flow.To(odd, odds))
					feed.Patience, got.Patience = time.Hour, time.Hour // of virtual time
					feed.Send(2, wrong)
					feed.WantNacked(2, wrong)
					feed.Send(4)
					feed.Close()
					if err := r.Wait(); err != nil {
						t.Error(err)
					}
					got.Want(4)
					for _, st := range r.Snapshot(t.Context()).Stages {
						if st.Name == "late" && st.Restarts != 1 {
							t.Errorf("%d restarts, want 1", st.Restarts)
						}
					}
				})
			})
		}
	}
}
