package operators_test

import (
	"context"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

// TestValidate gives each operator invalid arguments. That must not panic, neither here nor later,
// and Validate must name each mistake once.
func TestValidate(t *testing.T) {
	in := func() flow.Source[int] { return numbers(1).source() }
	end := func(src flow.Source[int]) flow.Part { return flow.To(src, discard[int]()) }
	ends := func(srcs ...flow.Source[int]) (parts []flow.Part) {
		for _, src := range srcs {
			parts = append(parts, end(src))
		}
		return parts
	}
	one := func(p flow.Part) []flow.Part { return []flow.Part{p} }
	key := func(v int) int { return v }
	same := func(shard flow.Source[int]) flow.Source[int] { return shard }
	identity := func(_ context.Context, v int) (int, error) { return v, nil }
	tests := map[string]struct {
		parts func() []flow.Part
		want  []string
	}{
		"Map": {func() []flow.Part { return ends(operators.Map[int, int](in(), nil)) }, []string{"map: f"}},
		"MapMessage": {func() []flow.Part { return ends(operators.MapMessage[int, int](in(), nil)) },
			[]string{"map-message: f"}},
		"Filter": {func() []flow.Part { return ends(operators.Filter(in(), nil)) }, []string{"filter: keep"}},
		"FilterMap": {func() []flow.Part { return ends(operators.FilterMap[int, int](in(), nil)) },
			[]string{"filter-map: f"}},
		"FlatMap": {
			func() []flow.Part { return ends(operators.FlatMap[int, int](in(), nil)) },
			[]string{"flat-map: f"},
		},
		"Tap": {func() []flow.Part { return ends(operators.Tap(in(), nil)) }, []string{"tap: f"}},
		"Try": {func() []flow.Part {
			ok, failed := operators.Try[int, int](in(), nil)
			return []flow.Part{end(ok), flow.To(failed, discard[flow.Failure[int]]())}
		}, []string{"try: f"}},
		"MergeHub": {func() []flow.Part { return one(flow.To(in(), operators.NewMergeHub[int](0).Sink())) },
			[]string{"merge-hub: perProducer"}},
		"BroadcastHub": {func() []flow.Part {
			h := operators.NewBroadcastHub[int](0, 9)
			return []flow.Part{flow.To(in(), h.Sink()), end(h.Subscribe(t.Context()))}
		}, []string{"broadcast-hub: lag", "broadcast-hub: slow", "broadcast-hub-2: lag", "broadcast-hub-2: slow"}},
		"PartitionHub": {func() []flow.Part {
			return one(flow.To(in(), operators.NewPartitionHub[int, int](-1, nil).Sink()))
		}, []string{"partition-hub: room", "partition-hub: key"}},
		"FanOut to none":  {func() []flow.Part { return ends(operators.FanOut(in(), 0)...) }, []string{"fan-out: n"}},
		"FanOut to fewer": {func() []flow.Part { return ends(operators.FanOut(in(), -3)...) }, []string{"fan-out: n"}},
		"FanOut, workers": {
			func() []flow.Part { return ends(operators.FanOut(in(), 2, flow.Workers(2))...) },
			[]string{"fan-out: Workers"},
		},
		"FanIn of none": {func() []flow.Part { return ends(operators.FanIn[int]()) }, []string{"fan-in: ins"}},
		"FanIn of zeros": {
			func() []flow.Part { return ends(operators.FanIn(flow.Source[int]{})) },
			[]string{"fan-in: "},
		},
		"Partition, n": {
			func() []flow.Part { return ends(operators.Partition(in(), 0, key)...) },
			[]string{"partition: n"},
		},
		"Partition, key": {
			func() []flow.Part { return ends(operators.Partition[int, int](in(), 2, nil)...) },
			[]string{"partition: key"},
		},
		"Partition, both": {
			func() []flow.Part { return ends(operators.Partition[int, int](in(), -1, nil)...) },
			[]string{"partition: key", "partition: n"},
		},
		"Balance": {func() []flow.Part { return ends(operators.Balance(in(), 0)...) }, []string{"balance: n"}},
		"Split": {
			func() []flow.Part { yes, no := operators.Split(in(), nil); return ends(yes, no) },
			[]string{"split: p"},
		},
		"ByKey, all": {
			func() []flow.Part { return ends(operators.ByKey[int, int, int](in(), 0, nil, nil)) },
			[]string{"by-key: n", "by-key: key", "by-key: sub"},
		},
		"ByKey, key": {
			func() []flow.Part { return ends(operators.ByKey[int, int, int](in(), 2, nil, same)) },
			[]string{"by-key: key"},
		},
		"ByKey, sub": {
			func() []flow.Part { return ends(operators.ByKey[int, int](in(), 2, key, nil)) },
			[]string{"by-key: sub"},
		},
		"Batch": {
			func() []flow.Part { return one(flow.To(operators.Batch(in(), 0, 0), discard[[]int]())) },
			[]string{"batch: n"},
		},
		"Batch, no limits": {
			func() []flow.Part { return one(flow.To(operators.Batch(in(), 4096, -1), discard[[]int]())) },
			nil,
		},
		"Batch, workers": {func() []flow.Part {
			return one(flow.To(operators.Batch(in(), 2, 0, flow.Workers(2)), discard[[]int]()))
		}, []string{"batch: Workers"}},
		"Batch, credits": {func() []flow.Part {
			src := numbers(1).source(flow.MaxInFlight(9))
			return one(flow.To(operators.Batch(src, 10, time.Second), discard[[]int]()))
		}, []string{"batch: "}},
		"Batch, credits of all shards": {func() []flow.Part {
			src := numbers(1).source(flow.MaxInFlight(25))
			return one(flow.To(operators.ByKey(src, 4, key, func(shard flow.Source[int]) flow.Source[[]int] {
				return operators.Batch(shard, 10, 0)
			}), discard[[]int]()))
		}, []string{"feed: "}},
		"BatchWeighted": {func() []flow.Part {
			return one(flow.To(operators.BatchWeighted(in(), -1, 0, 0, nil), discard[[]int]()))
		}, []string{"batch: n", "batch: most", "batch: weight"}},
		"BatchAdaptive": {func() []flow.Part {
			return one(flow.To(operators.BatchAdaptive(in(), 0, 0, flow.Workers(2)), discard[[]int]()))
		}, []string{"batch-adaptive: most", "batch-adaptive: goal", "batch-adaptive: Workers"}},
		"MapBatch": {func() []flow.Part {
			return ends(operators.MapBatch[int, int](operators.Batch(in(), 2, 0), nil))
		}, []string{"map-batch: f"}},
		"MapBatch, BisectResults": {func() []flow.Part {
			return ends(operators.MapBatch(operators.Batch(in(), 2, 0), flow.BisectResults[int, int](nil)))
		}, []string{"map-batch: f"}},
		"Buffer": {func() []flow.Part {
			return ends(operators.Buffer(in(), 0, 9, flow.Workers(2)))
		}, []string{"buffer: n", "buffer: over", "buffer: Workers"}},
		"Buffer, larger than the credits": {func() []flow.Part {
			return ends(operators.Buffer(numbers(1).source(flow.MaxInFlight(9)), 10, operators.Block))
		}, []string{"buffer: "}},
		"Conflate": {func() []flow.Part {
			return ends(operators.Conflate[int, int](in(), 0, nil, nil))
		}, []string{"conflate: most", "conflate: seed", "conflate: add"}},
		"Extrapolate": {func() []flow.Part {
			return ends(operators.Extrapolate(in(), nil))
		}, []string{"extrapolate: next"}},
		"Delay": {func() []flow.Part {
			return ends(operators.Delay(in(), 0, nil, flow.Workers(2)))
		}, []string{"delay: n", "delay: d", "delay: Workers"}},
		"Debounce": {func() []flow.Part {
			return ends(operators.Debounce[int, int](in(), 0, 0, -1, nil))
		}, []string{"debounce: keys", "debounce: quiet", "debounce: most", "debounce: key"}},
		"Debounce, most below quiet": {func() []flow.Part {
			return ends(operators.Debounce(in(), 1, time.Second, time.Millisecond, key))
		}, []string{"debounce: most"}},
		"Sample": {func() []flow.Part {
			return ends(operators.Sample(in(), 0, flow.Workers(2)))
		}, []string{"sample: every", "sample: Workers"}},
		"KeepAlive": {func() []flow.Part {
			return ends(operators.KeepAlive(in(), 0, nil, flow.Workers(2)))
		}, []string{"keep-alive: every", "keep-alive: make", "keep-alive: Workers"}},
		"Watchdog": {func() []flow.Part {
			return ends(operators.Watchdog(in(), 9, 0, flow.Workers(2)))
		}, []string{"watchdog: stall", "watchdog: after", "watchdog: Workers"}},
		"Throttle": {
			func() []flow.Part { return ends(operators.Throttle(in(), 0, -time.Second, 0)) },
			[]string{"throttle: n", "throttle: per", "throttle: burst"},
		},
		"ThrottleCost": {
			func() []flow.Part { return ends(operators.ThrottleCost(in(), 0, 0, 0, nil, flow.Workers(2))) },
			[]string{"throttle-cost: n", "throttle-cost: per", "throttle-cost: burst", "throttle-cost: cost",
				"throttle-cost: Workers"},
		},
		"ThrottleShared": {
			func() []flow.Part { return ends(operators.ThrottleShared(in(), nil, nil, flow.Workers(2))) },
			[]string{"throttle-shared: limit", "throttle-shared: Workers"},
		},
		"Throttle, workers": {
			func() []flow.Part { return ends(operators.Throttle(in(), 1, time.Second, 1, flow.Workers(2))) },
			[]string{"throttle: Workers"},
		},
		"Case": {func() []flow.Part {
			return ends(operators.Case[int, int](in(), nil))
		}, []string{"case: match"}},
		"DivertTo": {func() []flow.Part {
			out, diverted := operators.DivertTo(in(), nil, discard[int]())
			return []flow.Part{end(out), diverted}
		}, []string{"divert-to: when"}},
		"DivertTo, branch forgotten": {func() []flow.Part {
			out, _ := operators.DivertTo(in(), func(int) bool { return true }, discard[int]())
			return one(end(out))
		}, []string{"divert-to: "}},
		"AlsoTo the zero Sink": {func() []flow.Part {
			out, also := operators.AlsoTo(in(), flow.Sink[int]{})
			return []flow.Part{end(out), also}
		}, []string{"sink: "}},
		"MergeWeighted, none": {
			func() []flow.Part { return ends(operators.MergeWeighted[int](nil, nil)) },
			[]string{"merge-weighted: ins"},
		},
		"MergeWeighted, weights": {
			func() []flow.Part { return ends(operators.MergeWeighted([]flow.Source[int]{in(), in()}, []int{0})) },
			[]string{"merge-weighted: weights", "merge-weighted: weights"},
		},
		"Concat of none": {func() []flow.Part { return ends(operators.Concat[int]()) }, []string{"concat: ins"}},
		"Interleave": {
			func() []flow.Part { return ends(operators.Interleave([]flow.Source[int]{in()}, 0)) },
			[]string{"interleave: segment"},
		},
		"MergeSorted": {
			func() []flow.Part { return ends(operators.MergeSorted([]flow.Source[int]{in()}, nil, 0)) },
			[]string{"merge-sorted: compare"},
		},
		"MergeSequence": {func() []flow.Part {
			return ends(operators.MergeSequence([]flow.Source[int]{in()}, nil, 0, 0, operators.Gap(7)))
		}, []string{"merge-sequence: seq", "merge-sequence: window", "merge-sequence: wait", "merge-sequence: gap"}},
		"WithLatest": {
			func() []flow.Part { return ends(operators.WithLatest[int, int, int](in(), in(), nil)) },
			[]string{"with-latest: f"},
		},
		"CombineLatest": {
			func() []flow.Part { return ends(operators.CombineLatest[int, int, int](in(), in(), nil)) },
			[]string{"combine-latest: f"},
		},
		"Feedback": {
			func() []flow.Part { return ends(operators.Feedback[int, int](in(), 0, nil)) },
			[]string{"feedback: build", "feedback: bound"},
		},
		"Feedback, a holder without a time limit": {func() []flow.Part {
			return ends(operators.Feedback(in(), 9, func(loop flow.Source[int]) (out, back flow.Source[int]) {
				return operators.Split(operators.Unbatch(operators.Batch(loop, 2, 0)), func(int) bool { return true })
			}))
		}, []string{"batch: "}},
		"Unbatch of the zero Source": {func() []flow.Part { return ends(operators.Unbatch(flow.Source[[]int]{})) },
			[]string{"unbatch: "}},
		"KeyedBy another type": {func() []flow.Part {
			return ends(
				operators.Map(in(), identity, flow.Workers(2), flow.KeyedBy(func(s string) string { return s })),
			)
		}, []string{"map: KeyedBy"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { invalid(t, test.want, test.parts()...) })
	}
}
