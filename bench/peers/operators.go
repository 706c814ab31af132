package main

import (
	"time"

	"github.com/destel/rill"
	"github.com/reugn/go-streams"
	"github.com/reugn/go-streams/flow"
	"github.com/samber/ro"

	"github.com/streamerson/streamerson-go/bench"
)

// peer is an operator of other frameworks. A field is nil if its framework has no such operator.
type peer struct {
	goStreams func(streams.Source) streams.Flow
	rill      func(tries) tries
	ro        func(ints) ints
}

func plusOne(v int) int   { return v + 1 }
func notTenth(v int) bool { return v%10 != 0 }

// peers are the operators of the cases of package bench with the prefix "op-".
var peers = map[string]peer{
	"op-map": {
		func(src streams.Source) streams.Flow { return src.Via(flow.NewMap(plusOne, 1)) },
		func(in tries) tries {
			return rill.OrderedMap(in, 1, func(v int) (int, error) { return plusOne(v), nil })
		},
		func(in ints) ints { return ro.Map(plusOne)(in) },
	},
	"op-filter": {
		func(src streams.Source) streams.Flow { return src.Via(flow.NewFilter(notTenth, 1)) },
		func(in tries) tries {
			return rill.OrderedFilter(in, 1, func(v int) (bool, error) { return notTenth(v), nil })
		},
		func(in ints) ints { return ro.Filter(notTenth)(in) },
	},
	"op-flat-map": {
		func(src streams.Source) streams.Flow {
			return src.Via(flow.NewFlatMap(func(v int) []int { return []int{v, v} }, 1))
		},
		func(in tries) tries {
			return rill.OrderedFlatMap(in, 1, func(v int) tries { return rill.FromSlice([]int{v, v}, nil) })
		},
		func(in ints) ints { return ro.FlatMap(func(v int) ints { return ro.Just(v, v) })(in) },
	},
	"op-fan-out": {goStreams: func(src streams.Source) streams.Flow { return flow.Merge(flow.FanOut(src, 2)...) }},
	"op-balance": {goStreams: func(src streams.Source) streams.Flow { return flow.Merge(flow.RoundRobin(src, 2)...) }},
	"op-split": {
		goStreams: func(src streams.Source) streams.Flow {
			split := flow.Split(src, notTenth)
			return flow.Merge(split[0], split[1])
		},
		rill: func(in tries) tries {
			yes, no := rill.OrderedSplit2(in, 1, func(v int) (bool, error) { return notTenth(v), nil })
			return rill.Merge(yes, no)
		},
	},
	"op-batch": {
		func(src streams.Source) streams.Flow {
			return src.Via(flow.NewBatch[int](256, time.Second)).Via(flow.Flatten[int](1))
		},
		func(in tries) tries { return rill.Unbatch(rill.Batch(in, 256, time.Second)) },
		func(in ints) ints { return ro.Flatten[int]()(ro.BufferWithCount[int](256)(in)) },
	},
}

// operatorOf returns the peers' implementations of an operator.
func operatorOf(c bench.Case) (all []bench.Implementation) {
	p, ok := peerOf(c.Name)
	if !ok {
		return nil
	}
	if p.goStreams != nil {
		all = append(all, bench.Implementation{Name: "go-streams", Slow: 10, About: "reugn/go-streams",
			Run: goStreamsThrough(p.goStreams)})
	}
	if p.rill != nil {
		all = append(all, bench.Implementation{Name: "rill", Slow: 10, About: "destel/rill", Run: rillThrough(p.rill)})
	}
	if p.ro != nil {
		all = append(all, bench.Implementation{Name: "ro", Slow: 4, About: "samber/ro", Run: roThrough(p.ro)})
	}
	return all
}

// peerOf returns the peers of a case.
func peerOf(name string) (p peer, ok bool) {
	for _, some := range []map[string]peer{peers, stateful, simple, several} {
		if p, ok = some[name]; ok {
			return p, true
		}
	}
	return p, false
}
