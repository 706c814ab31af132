package operators_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
)

// started starts a graph in a bubble and returns its end, which cleans up too.
func started(t *testing.T, parts ...flow.Part) *flow.Running {
	t.Helper()
	r, err := flow.New("hub-test", parts...).Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Stop() })
	return r
}

func ended(t *testing.T, r *flow.Running) {
	t.Helper()
	if err := r.Wait(); err != nil {
		t.Error(err)
	}
}

func TestMergeHubAcksEndToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := operators.NewMergeHub[int](4)
		sink, got := flowtest.Collect[int](t)
		got.Block()
		consumer := flowtest.Start(t, flow.To(h.Source(), sink))
		a, feedA := flowtest.Feed[int](t)
		b, feedB := flowtest.Feed[int](t)
		first := flowtest.Start(t, flow.To(a, h.Sink()))
		feedA.Send(1, 2, 3)
		got.WaitBlocked()
		synctest.Wait()
		if n := feedA.Outstanding(); n != 3 {
			t.Errorf("%d entries of the producer are unsettled while the consumer works, want 3", n)
		}
		second := flowtest.Start(t, flow.To(b, h.Sink()))
		feedB.Send(10, 20)
		got.Unblock()
		got.WantUnordered(1, 2, 3, 10, 20)
		feedA.WantAcked(1, 2, 3)
		feedB.WantAcked(10, 20)
		feedA.Close()
		ended(t, first)
		feedB.Send(30) // the other producer stays
		feedB.WantAcked(10, 20, 30)
		feedB.Close()
		ended(t, second)
		h.Close()
		ended(t, consumer)
	})
}

func TestMergeHubBoundsEachProducer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := operators.NewMergeHub[int](2)
		a, feed := flowtest.Feed[int](t)
		producer := flowtest.Start(t, flow.To(a, h.Sink()))
		feed.Send(1, 2, 3, 4, 5)
		synctest.Wait()
		if q := h.Stats().Queued; q != 2 {
			t.Errorf("the hub holds %d messages of one producer, want 2", q)
		}
		sink, got := flowtest.Collect[int](t)
		consumer := flowtest.Start(t, flow.To(h.Source(), sink))
		got.Want(1, 2, 3, 4, 5)
		feed.Close()
		ended(t, producer)
		h.Close()
		ended(t, consumer)
	})
}

var errHubTest = errors.New("refused")

func TestHubFaultsReachTheProducer(t *testing.T) {
	hubs := map[string]func(ctx context.Context) (flow.Sink[int], flow.Source[int], func()){
		"merge": func(context.Context) (flow.Sink[int], flow.Source[int], func()) {
			h := operators.NewMergeHub[int](4)
			return h.Sink(), h.Source(), h.Close
		},
		"broadcast": func(ctx context.Context) (flow.Sink[int], flow.Source[int], func()) {
			h := operators.NewBroadcastHub[int](4, operators.Block)
			return h.Sink(), h.Subscribe(ctx), h.Close
		},
		"partition": func(ctx context.Context) (flow.Sink[int], flow.Source[int], func()) {
			h := operators.NewPartitionHub(4, func(v int) int { return v })
			return h.Sink(), h.Subscribe(ctx), h.Close
		},
	}
	for name, open := range hubs {
		t.Run(name+", with a source that redelivers", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				end, src, closeHub := open(t.Context())
				in, feed := flowtest.Feed[int](t, flowtest.Redeliver(3))
				producer := flowtest.Start(t, flow.To(in, end))
				attempts := make(map[int]int)
				out := operators.MapMessage(src, func(_ context.Context, m flow.Message[int]) (int, error) {
					attempts[m.Value] = m.Attempt()
					switch {
					case m.Value == 13:
						return 0, flow.Reject(errHubTest)
					case m.Value == 2 && m.Attempt() < 3:
						return 0, errHubTest
					}
					return m.Value, nil
				}, flow.OnFault(flow.Nack))
				sink, got := flowtest.Collect[int](t)
				consumer := flowtest.Start(t, flow.To(out, sink))
				feed.Send(1, 2, 13)
				feed.WantAcked(1, 2)
				feed.WantDead(13)
				got.WantUnordered(1, 2)
				if attempts[2] != 3 {
					t.Errorf("the last attempt of a message that failed twice is %d, want 3", attempts[2])
				}
				feed.Close()
				ended(t, producer)
				closeHub()
				ended(t, consumer)
			})
		})
		t.Run(name+", with a source that cannot", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				end, src, closeHub := open(t.Context())
				in, feed := flowtest.Feed[int](t, flowtest.CannotRedeliver(), flowtest.NoDeadLetters())
				producer := flowtest.Start(t, flow.To(in, end))
				var seen []int
				out := operators.MapMessage(src, func(_ context.Context, m flow.Message[int]) (int, error) {
					seen = append(seen, m.Value)
					switch n := len(seen); {
					case n == 1:
						return 0, flow.RetryAfter(time.Minute, errHubTest)
					case n == 2:
						return 0, flow.Reject(errHubTest)
					}
					return m.Value, nil
				})
				sink, got := flowtest.Collect[int](t)
				got.Patience = time.Hour
				consumer := flowtest.Start(t, flow.To(out, sink), flow.Log(slog.New(slog.DiscardHandler)))
				begun := time.Now()
				feed.Send(7)
				got.Want(7)
				feed.WantAcked(7)
				if took := time.Since(begun); took < time.Minute || took > 2*time.Minute {
					t.Errorf("the hub delivered the message again after %v, want a minute and a second", took)
				}
				feed.Close()
				ended(t, producer)
				closeHub()
				ended(t, consumer)
			})
		})
	}
}

func TestMergeHubKeepsWhatAConsumerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := operators.NewMergeHub[int](8)
		in, feed := flowtest.Feed[int](t)
		producer := flowtest.Start(t, flow.To(in, h.Sink()))
		feed.Send(1, 2, 3)
		stuck := operators.Map(h.Source(), func(ctx context.Context, v int) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		sink, _ := flowtest.Collect[int](t)
		first := started(t, flow.To(stuck, sink))
		synctest.Wait()
		if err := first.Stop(); err != nil && !errors.Is(err, flow.ErrStopped) {
			t.Fatal(err)
		}
		if n := feed.Outstanding(); n != 3 {
			t.Errorf("%d entries are unsettled after the consumer was stopped, want 3", n)
		}
		sink, got := flowtest.Collect[int](t)
		second := flowtest.Start(t, flow.To(h.Source(), sink))
		got.Want(1, 2, 3)
		feed.WantAcked(1, 2, 3)
		feed.Close()
		ended(t, producer)
		h.Close()
		ended(t, second)
	})
}

func TestBroadcastHubWaitsForTheSlowest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := operators.NewBroadcastHub[int](2, operators.Block)
		in, feed := flowtest.Feed[int](t)
		producer := flowtest.Start(t, flow.To(in, h.Sink()))
		feed.Send(1)
		synctest.Wait() // no subscriber is attached yet
		ctx, leave := context.WithCancel(t.Context())
		slow := h.Subscribe(ctx) // its graph does not run
		synctest.Wait()          // it has got 1
		fastSink, fast := flowtest.Collect[int](t)
		quick := flowtest.Start(t, flow.To(h.Subscribe(t.Context()), fastSink))
		feed.Send(2, 3, 4)
		synctest.Wait()
		fast.Want(2) // the slow one has room for two
		if n := len(feed.Settlements()); n > 0 {
			t.Errorf("%d entries are settled, but the slow subscriber has handled none", n)
		}
		leave()
		feed.WantAcked(1, 2, 3, 4)
		feed.Close()
		ended(t, producer)
		sink, missed := flowtest.Collect[int](t)
		if err := flowtest.Run(t, flow.To(slow, sink)); err != nil {
			t.Error(err)
		}
		if got := missed.Values(); len(got) > 0 {
			t.Errorf("a subscriber that has left got %v", got)
		}
		h.Close()
		ended(t, quick)
	})
}

func TestBroadcastHubPolicies(t *testing.T) {
	for _, c := range []struct {
		slow    operators.Overflow
		want    []int
		dropped uint64
		err     error
	}{
		{operators.DropOldest, []int{4, 5}, 3, nil},
		{operators.DropNewest, []int{1, 2}, 3, nil},
		{operators.Fail, nil, 5, operators.ErrTooSlow},
	} {
		t.Run(c.slow.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := operators.NewBroadcastHub[int](2, c.slow)
				sub := h.Subscribe(t.Context())
				in, feed := flowtest.Feed[int](t)
				producer := flowtest.Start(t, flow.To(in, h.Sink()))
				feed.Send(1, 2, 3, 4, 5)
				feed.WantAcked(1, 2, 3, 4, 5)
				counts := producer.Snapshot(t.Context()).Stages[1].Counts
				feed.Close()
				ended(t, producer)
				h.Close()
				sink, got := flowtest.Collect[int](t)
				consumer := started(t, flow.To(sub, sink))
				if err := consumer.Wait(); !errors.Is(err, c.err) {
					t.Errorf("the subscriber's graph ended with %v, want %v", err, c.err)
				}
				if diff := cmp.Diff(c.want, got.Values(), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("the subscriber got (-want +got):\n%s", diff)
				}
				if s := h.Stats(); s.Dropped != c.dropped || counts["dropped"] != c.dropped {
					t.Errorf(
						"dropped: %d in the hub, %d in the snapshot, want %d",
						s.Dropped,
						counts["dropped"],
						c.dropped,
					)
				}
			})
		})
	}
}

func TestPartitionHubMovesKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := operators.NewPartitionHub(64, func(v int) int { return v % 10 })
		in, feed := flowtest.Feed[int](t)
		producer := flowtest.Start(t, flow.To(in, h.Sink()))
		ctx, leave := context.WithCancel(t.Context())
		sinks := make([]flow.Sink[int], 2)
		got := make([]*flowtest.Collector[int], 2)
		for i := range sinks {
			sinks[i], got[i] = flowtest.Collect[int](t)
		}
		first := flowtest.Start(t, flow.To(h.Subscribe(ctx), sinks[0]))
		second := flowtest.Start(t, flow.To(h.Subscribe(t.Context()), sinks[1]))
		var sent []int
		for i := range 40 {
			sent = append(sent, i)
		}
		feed.Send(sent...)
		feed.WantAcked(sent...)
		owner := make(map[int]int)
		for i := range got {
			for _, v := range got[i].Values() {
				if was, known := owner[v%10]; known && was != i {
					t.Errorf("key %d went to both subscribers", v%10)
				}
				owner[v%10] = i
			}
		}
		if len(got[0].Values()) == 0 || len(got[1].Values()) == 0 {
			t.Fatal("one subscriber got all keys")
		}
		got[0].Block()
		feed.Send(sent...)
		got[0].WaitBlocked()
		leave() // while it has messages in flight and in its mailbox
		got[0].Unblock()
		ended(t, first)
		feed.Send(sent...)
		feed.WantAcked(slices.Concat(sent, sent, sent)...)
		feed.Close()
		ended(t, producer)
		h.Close()
		ended(t, second)
	})
}

// TestHubsLoseNothing has subscribers and producers come and go at random, with handlers that fail. Each
// message is settled once, and a message that was acked has been handled.
func TestHubsLoseNothing(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { hubChaos(t, seed) })
		})
	}
}

func hubChaos(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	merge := operators.NewMergeHub[int](1 + r.IntN(8))
	parts := operators.NewPartitionHub(1+r.IntN(8), func(v int) int { return v % 7 })
	copies := operators.NewBroadcastHub[int](1+r.IntN(8), operators.Block)
	handled := make(chan int, 100_000)
	handle := func(src flow.Source[int], seed uint64) flow.Branch {
		shaken := flowtest.Chaos(t, seed, flowtest.Rates{Fail: 0.05, Panic: 0.02, Delay: 0.2}, src)
		return flow.To(operators.Tap(shaken, func(_ context.Context, v int) { handled <- v }), discard[int]())
	}
	policy := flow.Faults(flow.Retry(1, time.Millisecond, flow.Nack))
	var feeds []*flowtest.Feeder[int]
	var producers []*flow.Running
	for i, end := range []flow.Sink[int]{merge.Sink(), parts.Sink(), copies.Sink(), merge.Sink()} {
		in, feed := flowtest.Feed[int](t, flowtest.Redeliver(1000))
		feed.Patience = 24 * time.Hour
		feeds = append(feeds, feed)
		producers = append(producers, started(t, flow.To(in, end), policy, flow.Log(slog.New(slog.DiscardHandler))))
		for v := range 50 {
			feed.Send(i*1000 + v)
		}
	}
	for range 6 { // generations of consumers
		ctx, leave := context.WithCancel(t.Context())
		var gone []*flow.Running
		for _, src := range []flow.Source[int]{merge.Source(), parts.Subscribe(ctx), copies.Subscribe(ctx)} {
			gone = append(gone, started(t, handle(src, r.Uint64()), policy, flow.Log(slog.New(slog.DiscardHandler))))
		}
		time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
		leave()
		for i, g := range gone {
			if i == 0 && r.IntN(2) == 0 {
				_ = g.Stop()
				continue
			}
			_, _ = g.Drain(t.Context())
		}
	}
	last := []*flow.Running{
		started(t, handle(merge.Source(), 1), policy, flow.Log(slog.New(slog.DiscardHandler))),
		started(t, handle(parts.Subscribe(t.Context()), 2), policy, flow.Log(slog.New(slog.DiscardHandler))),
		started(t, handle(copies.Subscribe(t.Context()), 3), policy, flow.Log(slog.New(slog.DiscardHandler))),
	}
	var want []int
	for i, feed := range feeds {
		var mine []int
		for v := range 50 {
			mine = append(mine, i*1000+v)
		}
		feed.WantAcked(mine...)
		feed.Close()
		ended(t, producers[i])
		want = append(want, mine...)
	}
	merge.Close()
	parts.Close()
	copies.Close()
	for _, l := range last {
		ended(t, l)
	}
	close(handled)
	seen := make(map[int]bool)
	for v := range handled {
		seen[v] = true
	}
	for _, v := range want {
		if !seen[v] && v/1000 != 2 { // a subscriber of copies may leave before it has handled a message
			t.Errorf("%d was acked and never handled", v)
		}
	}
}

func TestHubClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := operators.NewBroadcastHub[int](2, operators.Block)
		in, feed := flowtest.Feed[int](t)
		producer := started(t, flow.To(in, h.Sink()))
		feed.Send(1) // waits for a subscriber
		synctest.Wait()
		h.Close()
		h.Close()
		if err := producer.Wait(); !errors.Is(err, operators.ErrHubClosed) {
			t.Errorf("the producer ended with %v, want ErrHubClosed", err)
		}
		sink, _ := flowtest.Collect[int](t)
		if err := flowtest.Run(t, flow.To(h.Subscribe(t.Context()), sink)); err != nil {
			t.Errorf("a subscriber of a closed hub ended with %v", err)
		}
	})
}

// TestHubSinks runs the contract of sinks on the ends of the hubs. A consumer reads all the time.
func TestHubSinks(t *testing.T) {
	number := func(i int) int { return i }
	type sinks = func(...flow.StageOption) flow.Sink[int]
	for name, open := range map[string]func(*testing.T) (sinks, flow.Source[int], func()){
		"merge": func(*testing.T) (sinks, flow.Source[int], func()) {
			h := operators.NewMergeHub[int](8)
			return h.Sink, h.Source(), h.Close
		},
		"broadcast": func(t *testing.T) (sinks, flow.Source[int], func()) {
			h := operators.NewBroadcastHub[int](8, operators.Block)
			return h.Sink, h.Subscribe(t.Context()), h.Close
		},
		"partition": func(t *testing.T) (sinks, flow.Source[int], func()) {
			h := operators.NewPartitionHub(8, number)
			return h.Sink, h.Subscribe(t.Context()), h.Close
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			flowtest.TestSink(
				t,
				flowtest.SinkTraits[int]{Make: number, Many: 300},
				func(t *testing.T) flowtest.SinkBackend[int] {
					end, src, closeHub := open(t)
					sink, got := flowtest.Collect[int](t)
					consumer := started(t, flow.To(src, sink))
					t.Cleanup(func() {
						closeHub()
						ended(t, consumer)
					})
					return flowtest.SinkBackend[int]{
						Open:    end,
						Written: func() ([]int, error) { return got.Values(), nil },
					}
				},
			)
		})
	}
}
