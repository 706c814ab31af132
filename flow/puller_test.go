package flow_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
)

// parking is a Puller that keeps everything for its output: even values for output 0, odd for 1.
type parking struct {
	of  [2][]flow.Held[int]
	bad error // of Pull
}

func (p *parking) Handle(ctx context.Context, m flow.Message[int], _ flow.RouteEmit[int]) error {
	p.of[m.Value%2] = append(p.of[m.Value%2], flow.Hold(ctx, m))
	return nil
}

func (p *parking) Waiting(port int) bool { return len(p.of[port]) > 0 }

func (p *parking) Pull(_ context.Context, port int, emit flow.RouteEmit[int]) error {
	if p.bad != nil {
		return p.bad
	}
	first := p.of[port][0]
	p.of[port] = p.of[port][1:]
	emit(port, first.Message)
	first.Done()
	return nil
}

func (p *parking) End(ctx context.Context, emit flow.RouteEmit[int]) error {
	for port := range p.of {
		for p.Waiting(port) {
			if err := p.Pull(ctx, port, emit); err != nil {
				return err
			}
		}
	}
	return nil
}

func park(in flow.Source[int], bad error) []flow.Source[int] {
	return flow.RouteVia(in, "park", 2, func() flow.RouteHandler[int, int] { return &parking{bad: bad} },
		flow.Async(), flow.ChunkSize(1), flow.Traits{Holds: 100})
}

func TestPuller(t *testing.T) {
	t.Run("a blocked output does not stop the other", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src, feed := flowtest.Feed[int](t)
			outs := park(src, nil)
			even, gotEven := flowtest.Collect[int](t, flow.ChunkSize(1))
			odd, gotOdd := flowtest.Collect[int](t, flow.ChunkSize(1))
			gotEven.Block()
			flowtest.Start(t, flow.To(outs[0], even), flow.To(outs[1], odd, flow.Name("odd")))
			for i := range 20 {
				feed.Send(i)
			}
			gotOdd.Want(1, 3, 5, 7, 9, 11, 13, 15, 17, 19)
			feed.WantOutstanding(10)
			gotEven.Unblock()
			gotEven.Want(0, 2, 4, 6, 8, 10, 12, 14, 16, 18)
			feed.Close()
		})
	})
	t.Run("an error of Pull is a failure of the stage", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src, feed := flowtest.Feed[int](t)
			bad := errors.New("cannot pull")
			outs := park(src, bad)
			even, _ := flowtest.Collect[int](t)
			odd, _ := flowtest.Collect[int](t)
			r := flowtest.Start(t, flow.To(outs[0], even), flow.To(outs[1], odd, flow.Name("odd")),
				flow.Restarts(0, time.Minute, 0))
			feed.Send(1, 2, 3)
			<-r.Done()
			if err := r.Wait(); !errors.Is(err, bad) {
				t.Errorf("%v", err)
			}
		})
	})
}

// Route and Fork honor Async: a slow stage before them does not delay their timers.
func TestRouteAsync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, feed := flowtest.Feed[int](t)
		slow := flow.Transform(src, "slow", func() func(context.Context, int) (int, error) {
			return func(ctx context.Context, v int) (int, error) {
				if v == 1 {
					return v, flow.Sleep(ctx, 20*time.Second)
				}
				return v, nil
			}
		})
		began := time.Now()
		rang := make(chan time.Duration, 1)
		outs := flow.RouteVia(slow, "timer", 1, func() flow.RouteHandler[int, int] {
			return &ringing{at: began.Add(10 * time.Second), rang: rang, began: began}
		}, flow.Async())
		sink, _ := flowtest.Collect[int](t)
		flowtest.Start(t, flow.To(outs[0], sink))
		feed.Send(1)
		if after := <-rang; after != 10*time.Second {
			t.Errorf("the timer fired after %v", after)
		}
		feed.Close()
	})
}

type ringing struct {
	at, began time.Time
	rang      chan time.Duration
}

func (r *ringing) Handle(_ context.Context, m flow.Message[int], emit flow.RouteEmit[int]) error {
	emit(0, m)
	return nil
}

func (r *ringing) Next() time.Time { return r.at }

func (r *ringing) Ring(context.Context, flow.RouteEmit[int]) error {
	r.at = time.Time{}
	r.rang <- time.Since(r.began)
	return nil
}

// The stage keeps all values while its output is busy.
func ExamplePuller() {
	outs := flow.RouteVia(from(1, 3, 2), "park", 2, func() flow.RouteHandler[int, int] { return &parking{} },
		flow.Async(), flow.ChunkSize(1), flow.Traits{Holds: 100})
	err := flow.New("parked", flow.To(outs[0], printing[int]()), flow.To(outs[1], printing[int](flow.Name("odd")))).
		Run(context.Background())
	if err != nil {
		fmt.Println(err)
	}
	// Unordered output:
	// 1
	// 3
	// 2
}

func ExampleCallOptions() {
	twice := func(in flow.Source[int], opts ...flow.StageOption) flow.Source[int] {
		first := mapTo(in, flow.Pure(func(v int) int { return 2 * v }), opts...)
		return mapTo(first, flow.Pure(func(v int) int { return 2 * v }), flow.Name("again"), flow.CallOptions(opts...))
	}
	all := twice(from(1, 2), flow.Name("twice"), flow.Timeout(time.Second), flow.OnFault(flow.Drop))
	if err := flow.New("options", flow.To(all, printing[int]())).Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 4
	// 8
}
