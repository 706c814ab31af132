package main

import (
	"time"

	"github.com/destel/rill"
	"github.com/reugn/go-streams"
	"github.com/reugn/go-streams/flow"
	"github.com/samber/lo"
	"github.com/samber/ro"
)

func even(v int) bool { return v&1 == 0 }

func odd(v int) bool { return v&1 == 1 }

func same[T any](v T) T { return v }

// shared gives each use of an observable the values of one subscription.
func shared(in ints, use func(ints) ints) ints {
	hot := ro.Connectable(in)
	return ro.NewUnsafeObservable(func(to ro.Observer[int]) ro.Teardown {
		done := use(hot).Subscribe(to)
		hot.Connect()
		return done.Unsubscribe
	})
}

// stateful are the operators that keep a state. A framework has no entry where it has no such operator,
// or only one that drops values.
var stateful = map[string]peer{
	"op-scan": {
		goStreams: func(src streams.Source) streams.Flow {
			return src.Via(flow.NewFold(0, func(v, _ int) int { return v }))
		},
		ro: func(in ints) ints { return ro.Scan(func(_, v int) int { return v }, 0)(in) },
	},
	"op-take":     {ro: func(in ints) ints { return ro.Take[int](1 << 40)(in) }},
	"op-drop":     {ro: func(in ints) ints { return ro.Skip[int](0)(in) }},
	"op-distinct": {ro: func(in ints) ints { return ro.Distinct[int]()(in) }}, // it remembers all values
	"op-group-by": {ro: func(in ints) ints {
		groups := ro.GroupBy(func(v int) int { return v % 1000 })(in)
		return ro.MergeMap(func(of ints) ints { return ro.Map(plusOne)(of) })(groups)
	}},
	"op-window": {ro: func(in ints) ints { return ro.Flatten[int]()(ro.BufferWithCount[int](256)(in)) }},
}

// simple are further operators for one value at a time, and those of time.
var simple = map[string]peer{
	"op-tap": {ro: func(in ints) ints { return ro.TapOnNext(func(int) {})(in) }},
	"op-try": {
		rill: func(in tries) tries {
			tried := rill.OrderedMap(in, 1, func(v int) (int, error) { return v, nil })
			return rill.OrderedCatch(tried, 1, same[error])
		},
		ro: func(in ints) ints { return ro.Catch(ro.Throw[int])(ro.Map(same[int])(in)) },
	},
	"op-throttle": {goStreams: func(src streams.Source) streams.Flow {
		return src.Via(flow.NewThrottler(1e9, time.Second, 256, flow.Backpressure))
	}},
	"op-window-time": {goStreams: func(src streams.Source) streams.Flow { // by the clock
		return src.Via(flow.NewTumblingWindow[int](10 * time.Millisecond)).Via(flow.Flatten[int](1))
	}},
	"op-delay": {ro: func(in ints) ints { return ro.Delay[int](0)(in) }},
	"op-buffer": {
		rill: func(in tries) tries { return rill.Buffer(in, 256) },
		ro:   func(in ints) ints { return ro.ObserveOn[int](256)(in) },
	},
	"op-map-batch": {
		goStreams: func(src streams.Source) streams.Flow {
			return src.Via(flow.NewBatch[int](256, time.Second)).Via(flow.NewMap(same[[]int], 1)).Via(flow.Flatten[int](1))
		},
		rill: func(in tries) tries {
			batches := rill.Batch(in, 256, time.Second)
			return rill.Unbatch(rill.OrderedMap(batches, 1, func(vs []int) ([]int, error) { return vs, nil }))
		},
		ro: func(in ints) ints {
			return ro.Flatten[int]()(ro.Map(same[[]int])(ro.BufferWithCount[int](256)(in)))
		},
	},
}

// several are the operators with several inputs.
var several = map[string]peer{
	"op-merge-preferred": { // they merge without a preference
		goStreams: func(src streams.Source) streams.Flow {
			split := flow.Split(src, even)
			return flow.Merge(split[0], split[1])
		},
		rill: func(in tries) tries {
			yes, no := rill.OrderedSplit2(in, 1, func(v int) (bool, error) { return even(v), nil })
			return rill.Merge(yes, no)
		},
		ro: func(in ints) ints {
			return shared(in, func(hot ints) ints { return ro.Merge(ro.Filter(even)(hot), ro.Filter(odd)(hot)) })
		},
	},
	"op-zip": {
		goStreams: func(src streams.Source) streams.Flow {
			copies := flow.FanOut(src, 2)
			return flow.ZipWith(func(pair []int) int { return pair[0] }, copies[0], copies[1])
		},
		ro: func(in ints) ints {
			return shared(in, func(hot ints) ints {
				return ro.Map(func(p lo.Tuple2[int, int]) int { return p.A })(ro.Zip2(hot, hot))
			})
		},
	},
}
