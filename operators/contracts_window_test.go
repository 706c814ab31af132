package operators_test

import (
	"context"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/operators/window"
)

// windowSums is the contract of windows that each value belongs to once: the sums of their values.
func windowSums(variant string, w window.Windows) contract {
	sums := func(in ints, f func(int) error, opts ...flow.StageOption) ints {
		results, late := operators.Window(in, window.Config[int, int]{
			Windows: w, MaxHeld: 60, Key: func(v int) int { return v % 3 },
			Time: func(v int) time.Time { return zeroHour.Add(time.Duration(v) * sec) },
		}, sumOf(f), opts...)
		return merged(
			results,
			late,
			func(r window.Result[int, int]) int { return r.Value },
			func(v int) int { return v },
		)
	}
	return promises("Window", variant,
		flowtest.Traits[int]{Holds: 60, Joined: true, Leaves: true, Check: sameTotal, Failing: sums},
		func(in ints) ints { return sums(in, good) })
}

// couple is a pair of a join; a value that is missing is -1.
type couple = operators.Pair[int, int]

func coupled(_ context.Context, l, r *int) (couple, error) {
	c := couple{First: -1, Second: -1}
	if l != nil {
		c.First = *l
	}
	if r != nil {
		c.Second = *r
	}
	return c, nil
}

// windowContracts are those of windows and joins.
var windowContracts = []contract{
	windowSums("tumbling", window.Tumbling(7*sec)),
	windowSums("session", window.Session(sec)),
	windowSums("count", window.CountOf(5)),
	wired("JoinWithin", "", flowtest.Traits[couple]{
		Order: flowtest.AnyOrder, Holds: 60, Joined: true, Leaves: true,
		Of: func(c couple) (in []int) {
			for _, v := range []int{c.First, c.Second} {
				if v >= 0 {
					in = append(in, v)
				}
			}
			return in
		},
	}, 2, func(ins []ints, _ func(int) error, _ ...flow.StageOption) flowtest.Wired[couple] {
		half := func(v int) int { return v / 2 }
		joined := operators.JoinWithin(ins[0], ins[1], window.Join[int, int, int]{
			Kind: window.Outer, LeftKey: half, RightKey: half, After: time.Hour, Before: time.Hour, MaxHeld: 60,
		}, coupled)
		return flowtest.Wired[couple]{Outs: []flow.Source[couple]{joined}}
	}),
}
