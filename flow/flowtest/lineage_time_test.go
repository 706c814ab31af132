package flowtest_test

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

// superseded and overflowed are where the model sends values that an operator of time or a buffer has
// ended: as done, or as dropped.
var superseded, overflowed = &node{what: "superseded"}, &node{what: "overflowed"}

// timed makes a piece of an operator of time or of buffers.
func (g *tree) timed(in flow.Source[item], ord order) piece {
	d := time.Duration(1+g.n(20)) * g.unit
	kinds := 9
	if g.unit < time.Millisecond {
		kinds = 7 // in real time, values that are added while others wait could be too many
	}
	switch g.n(kinds) {
	case 0:
		n := g.plain("delay")
		return piece{operators.Delay(in, 1+g.n(9), func(item) time.Duration { return d }), n, n, ord}
	case 1:
		n := g.plain("delay by value")
		by := func(it item) time.Duration { return time.Duration(it.id%9) * g.unit }
		return piece{operators.Delay(in, 1+g.n(9), by), n, n, anyOrder}
	case 2:
		return g.lossy("debounce", operators.Debounce(in, 1+g.n(6), d, 0, keyOf), max(ord, keyOrder), superseded)
	case 3:
		return g.lossy("sample", operators.Sample(in, d), ord, superseded)
	case 4:
		n := g.plain("buffer")
		return piece{operators.Buffer(in, 1+g.n(9), operators.Block), n, n, ord}
	case 5:
		over := []operators.Overflow{operators.DropOldest, operators.DropNewest}[g.n(2)]
		g.w.overflows = true
		return g.lossy("buffer that drops", operators.Buffer(in, 1+g.n(9), over), ord, overflowed)
	case 6:
		n := g.plain("conflate")
		lists := operators.Conflate(in, 1+g.n(9), func(it item) []item { return []item{it} },
			func(list []item, it item) []item { return append(list, it) })
		return piece{operators.Unbatch(lists), n, n, ord}
	case 7:
		n := g.plain("keep-alive")
		return piece{operators.KeepAlive(in, 10*d, g.extra(n)), n, n, ord}
	}
	n := g.plain("extrapolate")
	extra := g.extra(n)
	return piece{operators.Extrapolate(in, func(item, int) (item, bool) {
		v := extra()
		return v, v.id%3 != 0
	}), n, n, ord}
}

// lossy makes a piece of an operator that does not pass on all values. A mark behind it shows the
// model which values it has passed on. The others have ended.
func (g *tree) lossy(what string, out flow.Source[item], ord order, ended *node) piece {
	n := g.plain(what)
	m := g.mark(out, ord, nil, 0)
	n.to(m.head)
	n.walk = func(it item, to func(*node, item)) {
		seen := g.w.seen[spot{m.head.id, it.id}] > 0
		if seen {
			to(m.head, it)
		}
		if !seen || it.dup {
			to(ended, it)
		}
	}
	return piece{m.out, n, m.tail, m.ord}
}

// extra returns a function that makes values of no entry.
func (g *tree) extra(n *node) func() item {
	var made atomic.Uint64
	return func() item {
		return item{delivery: delivery{src: -1}, id: mix(g.w.seed, 84, uint64(n.id), made.Add(1)), dup: true}
	}
}

// aside sends values to a sink of their own: all of them, or some instead of passing them on.
func (g *tree) aside(in flow.Source[item], ord order) piece {
	to, end := g.end(ord)
	if g.chance(50) {
		n := g.plain("also-to")
		n.to(end)
		n.walk = func(it item, to func(*node, item)) {
			for _, next := range n.next {
				to(next, it)
			}
		}
		out, branch := operators.AlsoTo(in, to)
		g.parts = append(g.parts, branch)
		return piece{out, n, n, ord}
	}
	n := g.plain("divert-to")
	n.to(end)
	diverts := func(it item) bool { return mix(g.w.seed, uint64(n.id), it.id)%3 == 0 }
	n.walk = func(it item, to func(*node, item)) {
		if diverts(it) {
			to(n.next[0], it)
		} else {
			to(n.next[1], it)
		}
	}
	out, branch := operators.DivertTo(in, diverts, to)
	g.parts = append(g.parts, branch)
	return piece{out, n, n, ord}
}

// unzip splits each value in two.
func (g *tree) unzip(in flow.Source[item], ord order, depth int) piece {
	n := g.plain("unzip")
	half := func(it item, i uint64) item {
		it.id = mix(it.id, uint64(n.id), i)
		return it
	}
	n.walk = func(it item, to func(*node, item)) {
		to(n.next[0], half(it, 1))
		to(n.next[1], half(it, 2))
	}
	first, second := operators.Unzip(operators.Map(in, flow.Pure(func(it item) operators.Pair[item, item] {
		return operators.Pair[item, item]{First: half(it, 1), Second: half(it, 2)}
	})))
	return g.diamond(n, []flow.Source[item]{first, second}, anyOrder, ord, depth)
}

// groups handles each key in a sub-pipeline of its own.
func (g *tree) groups(in flow.Source[item], ord order) piece {
	n := g.node("group-by")
	out := operators.GroupBy(in, keyOf, 1+g.n(6), time.Duration(1+g.n(20))*g.unit,
		func(of flow.Source[item]) flow.Source[item] {
			return operators.Map(of, func(ctx context.Context, it item) (item, error) {
				if err := g.w.meet(n, it); err != nil {
					return it, err
				}
				return n.change(it), nil
			}, flow.OnFault(g.w.policy(n)))
		})
	return piece{out, n, n, max(ord, keyOrder)}
}
