package operators_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

// spreads are the operators with several outputs of one type, each built with two.
var spreads = map[string]func(flow.Source[int]) []flow.Source[int]{
	"FanOut":    func(in flow.Source[int]) []flow.Source[int] { return operators.FanOut(in, 2) },
	"Balance":   func(in flow.Source[int]) []flow.Source[int] { return operators.Balance(in, 2) },
	"Partition": func(in flow.Source[int]) []flow.Source[int] { return operators.Partition(in, 2, byThree) },
	"Split": func(in flow.Source[int]) []flow.Source[int] {
		yes, no := operators.Split(in, func(v int) bool { return v%2 == 0 })
		return []flow.Source[int]{yes, no}
	},
}

func TestSpreads(t *testing.T) {
	for name, spread := range spreads {
		virtual(t, name+"/order, acks and bounds", func(t *testing.T) {
			in, a, b := numbers(500), &box[int]{}, &box[int]{}
			slow := func(ctx context.Context, v int) error { return wait(ctx, time.Duration(v*7%5)*time.Millisecond) }
			a.each = slow
			outs := spread(in.source(flow.MaxInFlight(40)))
			run(t, flow.To(outs[0], a.sink()), flow.To(outs[1], b.sink()))
			in.allSettledAs(t, flow.Acked)
			if in.most > 40 {
				t.Errorf("%d entries in flight, the source has credits for 40", in.most)
			}
			if !slices.IsSorted(a.values()) || !slices.IsSorted(b.values()) {
				t.Errorf("out of order: %v, %v", a.values(), b.values())
			}
			if name == "FanOut" {
				a.want(t, sequence(500)...)
				b.want(t, sequence(500)...)
				return
			}
			all := append(a.values(), b.values()...)
			slices.Sort(all)
			if diff := cmp.Diff(sequence(500), all); diff != "" {
				t.Errorf("values of both outputs (-want +got):\n%s", diff)
			}
		})
		virtual(t, name+"/stop during work", func(t *testing.T) {
			in := numbers(2000)
			stuck := &box[int]{each: func(ctx context.Context, _ int) error { return wait(ctx, time.Hour) }}
			outs := spread(in.source(flow.MaxInFlight(100)))
			r := start(t, flow.To(outs[0], stuck.sink()), flow.To(outs[1], stuck.sink()))
			time.Sleep(time.Second)
			if err := r.Stop(); err != nil {
				t.Errorf("Stop: %v", err)
			}
			in.allRead(t, flow.Nacked)
		})
		virtual(t, name+"/drain finishes what is read", func(t *testing.T) {
			in := numbers(300)
			slow := &box[int]{each: func(ctx context.Context, _ int) error { return wait(ctx, 10*time.Millisecond) }}
			in.stays = true
			outs := spread(in.source())
			r := start(t, flow.To(outs[0], slow.sink()), flow.To(outs[1], slow.sink()))
			time.Sleep(time.Second)
			if _, err := r.Drain(t.Context()); err != nil {
				t.Errorf("Drain: %v", err)
			}
			in.allSettledAs(t, flow.Acked)
		})
		virtual(t, name+"/a branch fails", func(t *testing.T) {
			in, a, b := numbers(20), &box[int]{}, &box[int]{}
			picky := func(_ context.Context, v int) error {
				if v == 7 {
					return errBoom
				}
				return nil
			}
			a.each, b.each = picky, picky
			outs := spread(in.source())
			run(
				t,
				flow.To(outs[0], a.sink(), flow.OnFault(flow.Nack)),
				flow.To(outs[1], b.sink(), flow.OnFault(flow.DeadLetter)),
			)
			worst := in.settled[7][0].Outcome
			in.outcomes(t, map[int]flow.Outcome{7: worst})
			if worst == flow.Acked || name == "FanOut" && worst != flow.Nacked {
				t.Errorf("7 ended as %v", worst)
			}
		})
	}
}

func TestFanOut(t *testing.T) {
	virtual(t, "the slowest branch rules", func(t *testing.T) {
		in, fast := numbers(5000), &box[int]{}
		stuck := &box[int]{each: func(ctx context.Context, _ int) error { return wait(ctx, time.Hour) }}
		copies := operators.FanOut(in.source(flow.MaxInFlight(1000)), 2)
		r := start(t, flow.To(copies[0], fast.sink()), flow.To(copies[1], stuck.sink()))
		time.Sleep(time.Minute)
		if n := len(fast.values()); n > 1000 || n == 0 {
			t.Errorf("the fast branch got %d messages ahead, with credits for 1000", n)
		}
		if in.count() > 0 {
			t.Errorf("%d entries were acked by one branch alone", in.count())
		}
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		in.allRead(t, flow.Nacked)
	})
	virtual(t, "a failed branch alone is tried again", func(t *testing.T) {
		in, good, bad := numbers(5), &box[int]{}, &box[int]{}
		tries := 0
		bad.each = func(_ context.Context, v int) error {
			if tries++; v == 2 && tries < 8 {
				return errBoom
			}
			return nil
		}
		copies := operators.FanOut(in.source(), 2)
		run(t, flow.To(copies[0], good.sink()),
			flow.To(copies[1], bad.sink(), flow.OnFault(flow.Retry(5, time.Second, flow.Nack))))
		good.want(t, sequence(5)...)
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "the worst branch decides", func(t *testing.T) {
		in := numbers(4)
		copies := operators.FanOut(in.source(), 3)
		var parts []flow.Part
		for i, c := range copies {
			verdicts := [][]error{{nil, flow.Skip, nil, nil}, {nil, nil, flow.Reject(errBoom), flow.Skip},
				{nil, nil, flow.Skip, flow.RetryAfter(0, errBoom)}}[i]
			parts = append(parts, flow.To(operators.Map(c, func(_ context.Context, v int) (int, error) {
				return v, verdicts[v]
			}), discard[int]()))
		}
		run(t, parts...)
		in.outcomes(t, map[int]flow.Outcome{1: flow.Dropped, 2: flow.Dead, 3: flow.Nacked})
	})
}

func TestBalance(t *testing.T) {
	virtual(t, "a slow branch owns no backlog", func(t *testing.T) {
		in, slow, fast := numbers(400), &box[int]{}, &box[int]{}
		slow.each = func(ctx context.Context, _ int) error { return wait(ctx, 10*time.Second) }
		fast.each = func(ctx context.Context, _ int) error { return wait(ctx, 10*time.Millisecond) }
		outs := operators.Balance(in.source(), 2)
		began := time.Now()
		run(t, flow.To(outs[0], slow.sink(), flow.ChunkSize(1)), flow.To(outs[1], fast.sink(), flow.ChunkSize(1)))
		if n := len(slow.values()); n > 5 {
			t.Errorf("the slow branch was given %d messages", n)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %v", took)
		}
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "a stuck branch holds up nobody", func(t *testing.T) {
		in, stuck, fast := numbers(100), &box[int]{}, &box[int]{}
		stuck.each = func(ctx context.Context, _ int) error { return wait(ctx, time.Hour) }
		outs := operators.Balance(in.source(), 2)
		r := start(t, flow.To(outs[0], stuck.sink(), flow.ChunkSize(1)), flow.To(outs[1], fast.sink()))
		time.Sleep(time.Minute)
		if n := len(fast.values()); n < 95 {
			t.Errorf("only %d of 100 messages got through on the free branch", n)
		}
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		in.unfinished(t, fast.values())
	})
	virtual(t, "equal branches share equally", func(t *testing.T) {
		in, boxes := numbers(300), []*box[int]{{}, {}, {}}
		var parts []flow.Part
		for i, out := range operators.Balance(in.source(), 3) {
			boxes[i].each = func(ctx context.Context, _ int) error { return wait(ctx, 10*time.Millisecond) }
			parts = append(parts, flow.To(out, boxes[i].sink(), flow.ChunkSize(1)))
		}
		run(t, parts...)
		for i, b := range boxes {
			if n := len(b.values()); n < 90 || n > 110 {
				t.Errorf("branch %d got %d of 300 messages", i, n)
			}
		}
	})
}

func TestSplit(t *testing.T) {
	t.Run("by the value", func(t *testing.T) {
		in, yes, no := numbers(6), &box[int]{}, &box[int]{}
		even, odd := operators.Split(in.source(), func(v int) bool { return v%2 == 0 })
		run(t, flow.To(even, yes.sink()), flow.To(odd, no.sink()))
		yes.want(t, 0, 2, 4)
		no.want(t, 1, 3, 5)
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "panics", func(t *testing.T) {
		in, yes, no := numbers(4), &box[int]{}, &box[int]{}
		even, odd := operators.Split(in.source(), func(v int) bool {
			if v == 1 {
				panic("one")
			}
			return v%2 == 0
		}, flow.OnFault(flow.Drop))
		run(t, flow.To(even, yes.sink()), flow.To(odd, no.sink()))
		yes.want(t, 0, 2)
		no.want(t, 3)
		in.outcomes(t, map[int]flow.Outcome{1: flow.Dropped})
	})
}

func TestFanIn(t *testing.T) {
	virtual(t, "order within each, acks, none starves", func(t *testing.T) {
		slow, fast, out := newFeed[int](), numbers(1000), &box[int]{}
		for i := range 20 {
			slow.values = append(slow.values, 10000+i)
		}
		slow.every, fast.every = 10*time.Millisecond, time.Millisecond
		run(t, flow.To(operators.FanIn(slow.source(), fast.source(flow.Name("fast"))), out.sink()))
		slow.allSettledAs(t, flow.Acked)
		fast.allSettledAs(t, flow.Acked)
		got := out.values()
		late := slices.Index(got, 10019)
		if late > 400 {
			t.Errorf("the slow input's last value came as no. %d", late)
		}
		isSlow := func(v int) bool { return v >= 10000 }
		if fromFast := slices.DeleteFunc(slices.Clone(got), isSlow); !slices.Equal(fromFast, fast.values) {
			t.Errorf("the fast input's values came as %v", fromFast)
		}
		isFast := func(v int) bool { return v < 10000 }
		if fromSlow := slices.DeleteFunc(got, isFast); !slices.Equal(fromSlow, slow.values) {
			t.Errorf("the slow input's values came as %v", fromSlow)
		}
	})
	t.Run("leaves the caller's slice alone", func(t *testing.T) {
		a, b, out := numbers(3), numbers(3), &box[int]{}
		ins := []flow.Source[int]{a.source(), b.source()}
		merged := operators.FanIn(ins...)
		clear(ins)
		run(t, flow.To(merged, out.sink()))
		a.allSettledAs(t, flow.Acked)
		b.allSettledAs(t, flow.Acked)
	})
	virtual(t, "stop and drain", func(t *testing.T) {
		for _, stop := range []bool{true, false} {
			a, b := numbers(50), numbers(50)
			a.stays, b.stays = true, true
			slow := &box[int]{each: func(ctx context.Context, _ int) error { return wait(ctx, 10*time.Millisecond) }}
			r := start(t, flow.To(operators.FanIn(a.source(), b.source()), slow.sink()))
			time.Sleep(100 * time.Millisecond)
			if stop {
				if err := r.Stop(); err != nil {
					t.Error(err)
				}
				if n := len(slow.values()) + nacked(a) + nacked(b); n != 100 {
					t.Errorf("%d of 100 entries are accounted for", n)
				}
				continue
			}
			if _, err := r.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			a.allSettledAs(t, flow.Acked)
			b.allSettledAs(t, flow.Acked)
		}
	})
}

func nacked(f *feed[int]) (n int) {
	for _, all := range f.settled {
		for _, s := range all {
			if s.Outcome == flow.Nacked {
				n++
			}
		}
	}
	return n
}

func TestFanOutIntoFanIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out := numbers(100), &box[int]{}
		run(t, flow.To(operators.FanIn(operators.FanOut(in.source(flow.MaxInFlight(10)), 3)...), out.sink()))
		in.allSettledAs(t, flow.Acked)
		if n := len(out.values()); n != 300 {
			t.Errorf("%d values, want each of 100 three times", n)
		}
	})
}
