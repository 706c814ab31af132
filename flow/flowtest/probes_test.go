package flowtest_test

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

var errTest = errors.New("on purpose")

func TestFeed(t *testing.T) {
	t.Run("delivers and settles", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src, feed := flowtest.Feed[string](t)
			sink, got := flowtest.Collect[string](t, flow.OnFault(flow.NackAfter(time.Second)))
			got.FailOn(func(m flow.Message[string]) error {
				switch m.Value {
				case "skip":
					return flow.Skip
				case "reject":
					return flow.Reject(errTest)
				case "nack":
					return errTest
				}
				return nil
			})
			r := flowtest.Start(t, flow.To(src, sink))
			feed.Send("a", "skip")
			feed.SendMessage(
				flow.NewMessage("reject", flow.Meta{ID: "x", Key: "k"}),
				flow.NewMessage("nack", flow.Meta{}),
			)
			feed.SendBad(errTest)
			feed.WantSettled(map[flow.Outcome]int{flow.Acked: 1, flow.Dropped: 1, flow.Dead: 2, flow.Nacked: 1})
			feed.WantAcked("a")
			feed.WantDropped("skip")
			feed.WantDead("reject", "")
			feed.WantNacked("nack")
			feed.WantOutstanding(0)
			for _, s := range feed.Settlements() {
				switch s.Value {
				case "reject":
					if s.Meta.ID != "x" || s.Meta.Key != "k" || !errors.Is(s.Err, errTest) {
						t.Errorf("got %+v", s)
					}
				case "nack":
					if s.After != time.Second || s.Meta.ID != "4" || s.Attempt != 1 {
						t.Errorf("got %+v", s)
					}
				}
			}
			feed.Close()
			if err := r.Wait(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("redelivers after the delay", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src, feed := flowtest.Feed[int](t, flowtest.Redeliver(3))
			sink, got := flowtest.Collect[int](t, flow.OnFault(flow.NackAfter(time.Minute)))
			got.FailOn(func(m flow.Message[int]) error {
				if m.Attempt() < 3 {
					return errTest
				}
				return nil
			})
			flowtest.Start(t, flow.To(src, sink))
			start := time.Now()
			feed.Send(1)
			feed.Patience = time.Hour
			feed.WantAcked(1)
			feed.WantSettled(map[flow.Outcome]int{flow.Acked: 1, flow.Nacked: 2})
			if took := time.Since(start).Round(time.Second); took != 2*time.Minute {
				t.Errorf("it took %v, want 2m", took)
			}
			got.Want(1)
		})
	})
	t.Run("fails reads and commits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src, feed := flowtest.Feed[int](t, flowtest.FeedStage(flow.MaxInFlight(3)))
			sink, got := flowtest.Collect[int](t)
			feed.FailReads(2, errTest)
			feed.FailCommits(3, errTest)
			feed.Send(upTo(20)...)
			feed.Close()
			if err := flowtest.Run(t, flow.To(src, sink)); err != nil {
				t.Error(err)
			}
			got.Want(upTo(20)...)
			feed.WantAcked(upTo(20)...)
			if n := feed.MostOutstanding(); n != 3 {
				t.Errorf("%d entries were in flight at once, want 3", n)
			}
		})
	})
	t.Run("stops the graph when it cannot redeliver", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src, feed := flowtest.Feed[int](t, flowtest.CannotRedeliver(), flowtest.NoDeadLetters())
			sink, got := flowtest.Collect[int](t, flow.OnFault(flow.Nack))
			got.Fail(1, errTest)
			feed.Send(1)
			if err := flowtest.Run(t, flow.To(src, sink)); !errors.Is(err, flow.ErrNotRedeliverable) ||
				!errors.Is(err, errTest) {
				t.Errorf("got %v, want ErrNotRedeliverable", err)
			}
		})
	})
}

func upTo(n int) []int {
	values := make([]int, n)
	for i := range values {
		values[i] = i
	}
	return values
}

func TestCollect(t *testing.T) {
	t.Run("blocks", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src, feed := flowtest.Feed[int](t, flowtest.FeedStage(flow.MaxInFlight(5)))
			sink, got := flowtest.Collect[int](t)
			got.Block()
			feed.Send(upTo(30)...)
			r := flowtest.Start(t, flow.To(src, sink))
			got.WaitBlocked()
			feed.WantOutstanding(5)
			if n := len(got.Values()); n != 0 {
				t.Errorf("%d values were written", n)
			}
			got.Unblock()
			if diff := cmp.Diff(upTo(30), got.Wait(30)); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
			feed.Close()
			if err := r.Wait(); err != nil {
				t.Error(err)
			}
			n := 0
			for _, c := range got.Chunks() {
				n += c
			}
			if n != 30 {
				t.Errorf("chunks %v", got.Chunks())
			}
		})
	})
	t.Run("fails and retries", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src, feed := flowtest.Feed[int](t)
			sink, got := flowtest.Collect[int](t)
			got.Fail(2, errTest)
			feed.Send(1, 2, 3)
			feed.Close()
			if err := flowtest.Run(t, flow.To(src, sink)); err != nil {
				t.Error(err)
			}
			got.Want(1, 2, 3)
			got.WantUnordered(3, 2, 1)
			feed.WantAcked(1, 2, 3)
		})
	})
}

func TestChaos(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			rates := flowtest.Rates{Fail: 0.1, Panic: 0.05, Delay: 0.2}
			src, feed := flowtest.Feed[int](t, flowtest.FeedStage(flow.MaxInFlight(20)))
			sink, got := flowtest.Collect[int](t)
			feed.AroundRead(flowtest.ChaosAround(t, seed, rates))
			feed.AroundCommit(flowtest.ChaosAround(t, seed+1000, rates))
			got.AroundWrite(flowtest.ChaosAround(t, seed+2000, rates))
			feed.Send(upTo(200)...)
			feed.Close()
			retry := flow.Retry(1000, time.Millisecond, flow.Stop)
			if err := flowtest.Run(t, flow.To(flowtest.Chaos(t, seed, rates, src), sink),
				flow.Faults(retry), flow.Restarts(1000, time.Minute, time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			got.Want(upTo(200)...)
			feed.WantAcked(upTo(200)...)
		})
	}
}

// One blueprint runs twice at once. The runs share the feed and nothing else.
func TestRunTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, feed := flowtest.Feed[int](t)
		sink, got := flowtest.Collect[int](t)
		g := flow.New("twice", flow.To(src, sink))
		a, err := g.Start(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		b, err := g.Start(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		feed.Send(upTo(100)...)
		got.Wait(100)
		feed.Close()
		if err := errors.Join(a.Wait(), b.Wait()); err != nil {
			t.Error(err)
		}
		got.WantUnordered(upTo(100)...)
		feed.WantAcked(upTo(100)...)
	})
}
