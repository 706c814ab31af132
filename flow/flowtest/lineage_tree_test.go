package flowtest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

// dice are the decisions that make a tree: first the fuzzer's bytes, then a generator seeded with them.
type dice struct {
	data []byte
	rng  *rand.Rand
}

func (d *dice) n(k int) int {
	if len(d.data) > 0 {
		b := d.data[0]
		d.data = d.data[1:]
		return int(b) % k
	}
	return d.rng.IntN(k)
}

func (d *dice) chance(percent int) bool { return d.n(100) < percent }

// tree makes a random graph together with its model.
type tree struct {
	*dice
	w           *world
	unit        time.Duration // of all waits
	trouble     int           // of 1000 values at a stage
	redelivers  bool
	deadLetters bool
	stops       bool // policies may stop the graph
	roomy       bool // holders may wait for more than time allows
	nodes       int
	parts       []flow.Part
	text        []string
}

func (g *tree) node(what string) *node {
	g.nodes++
	n := &node{id: g.nodes, what: what, unit: g.unit, redelivers: g.redelivers, deadLetters: g.deadLetters}
	if g.trouble > 0 && g.chance(50) {
		n.trouble = g.trouble
	}
	n.retries = g.n(4)
	actions := []flow.Action{flow.ActNack, flow.ActDead, flow.ActDrop}
	n.action = actions[g.n(3)]
	if g.stops && g.chance(5) {
		n.action = flow.ActStop
	}
	n.walk = func(it item, to func(*node, item)) { to(n.next[0], n.change(it)) }
	g.text = append(g.text, fmt.Sprintf("%d:%s", n.id, what))
	return n
}

func (n *node) change(it item) item {
	it.id = mix(it.id, uint64(n.id))
	return it
}

func (n *node) to(next *node) { n.next = append(n.next, next) }

// plain makes a node for a stage that has no function of ours.
func (g *tree) plain(what string) *node {
	n := g.node(what)
	n.trouble = 0
	n.walk = func(it item, to func(*node, item)) { to(n.next[0], it) }
	return n
}

func (g *tree) stage(n *node) []flow.StageOption {
	opts := []flow.StageOption{flow.OnFault(g.w.policy(n))}
	if g.chance(15) {
		opts = append(opts, flow.Async())
	}
	if g.chance(10) {
		opts = append(opts, flow.ChunkSize(1+g.n(5)))
	}
	if g.chance(10) {
		opts = append(opts, flow.Timeout(time.Hour))
	}
	return opts
}

func keyOf(it item) int { return it.key }

// workers gives a stage workers and returns their effect on the order.
func (g *tree) workers(opts []flow.StageOption, ord order) ([]flow.StageOption, order) {
	if !g.chance(35) {
		return opts, ord
	}
	n := 2 + g.n(3)
	opts = append(opts, flow.Workers(n))
	g.text = append(g.text, fmt.Sprintf("w%d", n))
	switch g.n(3) {
	case 0:
		return append(opts, flow.Unordered()), anyOrder
	case 1:
		return append(opts, flow.KeyedBy(keyOf)), max(ord, keyOrder)
	}
	return opts, ord
}

// pause makes a handler wait for a time that depends on a hash.
func (g *tree) pause(ctx context.Context, n *node, it item) {
	h := mix(g.w.seed, 79, uint64(n.id), it.id)
	if h%5 != 0 {
		return
	}
	t := time.NewTimer(time.Duration(h/5%9) * g.unit)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// piece is a part of the graph with one input and one output.
type piece struct {
	out  flow.Source[item]
	head *node
	tail *node
	ord  order
}

// line connects pieces in a row.
func (g *tree) line(in flow.Source[item], ord order, depth, length int) piece {
	p := g.mark(in, ord, nil, 0)
	for range length {
		q := g.piece(p.out, p.ord, depth)
		p.tail.to(q.head)
		p.out, p.tail, p.ord = q.out, q.tail, q.ord
	}
	return p
}

func (g *tree) piece(in flow.Source[item], ord order, depth int) piece {
	kinds := 11
	if depth > 0 {
		kinds = 21
	}
	switch g.n(kinds) {
	case 0, 1:
		return g.step(in, ord)
	case 2:
		return g.filter(in, ord)
	case 3:
		return g.flatMap(in, ord)
	case 4:
		return g.batch(in, ord)
	case 5:
		return g.hold(in, ord)
	case 6:
		return g.throttle(in, ord)
	case 7, 8:
		return g.timed(in, ord)
	case 9:
		return g.aside(in, ord)
	case 10:
		return g.groups(in, ord)
	case 11:
		n := g.plain("fanout")
		k := 2 + g.n(2)
		n.walk = func(it item, to func(*node, item)) {
			for _, next := range n.next {
				to(next, it)
			}
		}
		return g.diamond(n, operators.FanOut(in, k), anyOrder, anyOrder, depth)
	case 12, 13:
		n := g.plain("partition")
		g.oneOf(n)
		return g.diamond(n, operators.Partition(in, 1+g.n(4), keyOf), max(ord, keyOrder), ord, depth)
	case 14:
		n := g.plain("balance")
		g.oneOf(n)
		return g.diamond(n, operators.Balance(in, 1+g.n(3), flow.ChunkSize(1+g.n(4))), anyOrder, ord, depth)
	case 15:
		n := g.plain("split")
		left := func(it item) bool { return mix(g.w.seed, uint64(n.id), it.id)%3 == 0 }
		n.walk = func(it item, to func(*node, item)) {
			if left(it) {
				to(n.next[0], it)
			} else {
				to(n.next[1], it)
			}
		}
		yes, no := operators.Split(in, left)
		return g.diamond(n, []flow.Source[item]{yes, no}, anyOrder, ord, depth)
	case 16:
		return g.try(in, ord, depth)
	case 17:
		n := g.plain("case")
		hits := func(it item) bool { return mix(g.w.seed, uint64(n.id), it.id)%3 == 0 }
		n.walk = func(it item, to func(*node, item)) {
			if hits(it) {
				to(n.next[0], it)
			} else {
				to(n.next[1], it)
			}
		}
		hit, rest := operators.Case(in, func(it item) (item, bool) { return it, hits(it) })
		return g.diamond(n, []flow.Source[item]{hit, rest}, anyOrder, ord, depth)
	case 18:
		return g.tap(in, ord)
	case 19:
		return g.unzip(in, ord, depth)
	default:
		return g.feedback(in)
	}
}

// tap offers copies to a sink that fails. The model does not know of it.
func (g *tree) tap(in flow.Source[item], ord order) piece {
	n := g.plain("tap")
	broken := flow.NewSink("tapped", func() flow.Writer[item] {
		return flow.WriterFunc[item](func(ctx context.Context, chunk []flow.Message[item]) error {
			g.pause(ctx, n, chunk[0].Value)
			if chunk[0].Value.id%2 == 0 {
				panic("in vain")
			}
			return errPassing
		})
	}, flow.ChunkSize(1+g.n(5)))
	out, branch := operators.WireTap(in, broken)
	g.parts = append(g.parts, branch)
	return piece{out, n, n, ord}
}

// feedback sends some values round a loop, several times.
func (g *tree) feedback(in flow.Source[item]) piece {
	n := g.node("feedback")
	again := func(it item) bool { return mix(g.w.seed, 83, uint64(n.id), it.id)%3 == 0 }
	n.walk = func(it item, to func(*node, item)) {
		if it = n.change(it); again(it) {
			to(n, it)
		} else {
			to(n.next[0], it)
		}
	}
	out := operators.Feedback(in, 1+g.n(20), func(loop flow.Source[item]) (out, back flow.Source[item]) {
		round := operators.Map(loop, func(ctx context.Context, it item) (item, error) {
			g.pause(ctx, n, it)
			if err := g.w.meet(n, it); err != nil {
				return it, err
			}
			return n.change(it), nil
		}, g.stage(n)...)
		back, out = operators.Split(round, again)
		return out, back
	})
	return piece{out, n, n, anyOrder}
}

// oneOf makes a node that sends each value to one of its outputs. The model does not need to know
// which.
func (g *tree) oneOf(n *node) {
	n.walk = func(it item, to func(*node, item)) {
		ports := 0
		for _, next := range n.next {
			if g.w.seen[spot{next.id, it.id}] > 0 {
				ports++
				to(next, it)
			}
		}
		if ports > 1 && !it.dup {
			g.w.problems = append(g.w.problems, fmt.Sprintf("node %d: %v went to %d outputs", n.id, it, ports))
		}
	}
}

// diamond gives each of several outputs a line of its own and brings them together again.
func (g *tree) diamond(n *node, outs []flow.Source[item], after, within order, depth int) piece {
	join := g.plain("join")
	ends := make([]flow.Source[item], len(outs))
	for i, out := range outs {
		m := g.mark(out, within, n, i)
		p := g.line(m.out, m.ord, depth-1, g.n(3))
		n.to(m.head)
		m.tail.to(p.head)
		p.tail.to(join)
		ends[i] = p.out
		after = max(after, p.ord)
	}
	return piece{g.join(join, ends), n, join, after}
}

// join brings the ends of lines together.
func (g *tree) join(n *node, ends []flow.Source[item]) flow.Source[item] {
	switch g.n(10) {
	case 0, 1:
		return flow.Gather("gather", ends, func() flow.GatherHandler[item, item] { return &gather{} },
			flow.OnFault(g.w.policy(n)))
	case 2:
		return operators.MergePreferred(ends[0], ends[1:])
	case 3:
		weights := make([]int, len(ends))
		for i := range weights {
			weights[i] = 1 + g.n(3)
		}
		return operators.MergeWeighted(ends, weights)
	case 4:
		byEntry := func(a, b item) int { return a.entry - b.entry }
		return operators.MergeSorted(ends, byEntry, time.Duration(1+g.n(5))*g.unit)
	case 5:
		number := func(it item) uint64 { return uint64(it.entry) }
		return operators.MergeSequence(ends, number, 1+g.n(9), time.Duration(1+g.n(5))*g.unit, operators.SkipGap)
	}
	return operators.FanIn(ends...)
}

// gather passes everything on and reads its inputs in an unusual order.
type gather struct {
	turn  int
	picks []int
}

func (*gather) Handle(_ context.Context, _ int, m flow.Message[item], emit flow.Emit[item]) error {
	emit(m)
	return nil
}

func (g *gather) Pick(open []bool) []int {
	g.turn++
	g.picks = g.picks[:0]
	for i := range open {
		g.picks = append(g.picks, (i*3+g.turn)%len(open))
		g.picks = append(g.picks, i)
	}
	return g.picks
}

// mark is a stage that records the values it sees, so that the model knows their route.
func (g *tree) mark(in flow.Source[item], ord order, from *node, port int) piece {
	n := g.node("mark")
	out := flow.Step(in, "mark", func() flow.StepFunc[item, item] {
		return func(ctx context.Context, m flow.Message[item]) (flow.Message[item], bool, error) {
			g.w.see(n.id, m.Value)
			if from != nil && from.what == "partition" {
				g.w.part(from.id, m.Value.key, port)
			}
			if err := g.w.meet(n, m.Value); err != nil {
				return m, false, err
			}
			return flow.Derive(m, n.change(m.Value)), true, nil
		}
	}, g.stage(n)...)
	return piece{out, n, n, ord}
}

func (w *world) part(node, key, port int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := [2]int{node, key}
	if was, ok := w.parts[at]; ok && was != port {
		w.problems = append(w.problems, fmt.Sprintf("node %d: key %d went to %d and %d", node, key, was, port))
	}
	w.parts[at] = port
}

func (g *tree) step(in flow.Source[item], ord order) piece {
	n := g.node("step")
	f := func(ctx context.Context, it item) (item, error) {
		g.pause(ctx, n, it)
		if err := g.w.meet(n, it); err != nil {
			return it, err
		}
		return n.change(it), nil
	}
	opts, ord := g.workers(g.stage(n), ord)
	switch g.n(3) {
	case 0:
		return piece{operators.Map(in, f, opts...), n, n, ord}
	case 1:
		return piece{flow.Step(in, "step", func() flow.StepFunc[item, item] {
			return func(ctx context.Context, m flow.Message[item]) (flow.Message[item], bool, error) {
				v, err := f(ctx, m.Value)
				return flow.Derive(m, v), true, err
			}
		}, opts...), n, n, ord}
	}
	return piece{flow.Via(in, "via", func() flow.Handler[item, item] {
		return flow.HandlerFunc[item, item](
			func(ctx context.Context, m flow.Message[item], emit flow.Emit[item]) error {
				if m.Value.id%2 == 0 { // emitted before a failure: taken back
					emit(flow.Derive(m, n.change(m.Value)))
					_, err := f(ctx, m.Value)
					return err
				}
				v, err := f(ctx, m.Value)
				if err == nil {
					emit(flow.Derive(m, v))
				}
				return err
			},
		)
	}, opts...), n, n, ord}
}

func (g *tree) filter(in flow.Source[item], ord order) piece {
	n := g.node("filter")
	keeps := func(it item) bool { return mix(g.w.seed, 80, uint64(n.id), it.id)%4 != 0 }
	n.walk = func(it item, to func(*node, item)) {
		if keeps(it) {
			to(n.next[0], it)
		} else {
			to(nil, it)
		}
	}
	opts, ord := g.workers(g.stage(n), ord)
	return piece{operators.Filter(in, func(ctx context.Context, it item) (bool, error) {
		g.pause(ctx, n, it)
		if err := g.w.meet(n, it); err != nil {
			return false, err
		}
		if !keeps(it) {
			g.w.end(n.id, flow.Acked, it)
		}
		return keeps(it), nil
	}, opts...), n, n, ord}
}

func (g *tree) flatMap(in flow.Source[item], ord order) piece {
	n := g.node("flatmap")
	large := g.chance(4)
	kids := func(it item) []item {
		k := int(mix(g.w.seed, 81, uint64(n.id), it.id) % 4)
		if large && k == 1 {
			k = 300
		}
		list := make([]item, k)
		for i := range list {
			list[i] = it
			list[i].id = mix(it.id, uint64(n.id), uint64(i))
			list[i].dup = it.dup || k > 255 && g.w.fate(n, it) != passes
		}
		return list
	}
	n.walk = func(it item, to func(*node, item)) {
		list := kids(it)
		for _, kid := range list {
			to(n.next[0], kid)
		}
		if len(list) == 0 {
			to(nil, it)
		}
	}
	opts, ord := g.workers(g.stage(n), ord)
	return piece{operators.FlatMap(in, func(ctx context.Context, it item, emit func(item)) error {
		g.pause(ctx, n, it)
		list := kids(it)
		for _, kid := range list {
			emit(kid)
		}
		err := g.w.meet(n, it)
		if err == nil && len(list) == 0 {
			g.w.end(n.id, flow.Acked, it)
		}
		return err
	}, opts...), n, n, ord}
}

// batch makes batches, has a stage do something to each batch, and takes them apart again;
// sometimes batches of batches.
func (g *tree) batch(in flow.Source[item], ord order) piece {
	n := g.node("batch")
	within := time.Duration(1+g.n(20)) * g.unit
	if g.roomy && g.chance(30) {
		within = 0
	}
	batches := operators.Batch(in, 1+g.n(5), within)
	if g.chance(25) {
		g.w.groups = true
		twice := operators.Batch(batches, 1+g.n(3), time.Duration(1+g.n(20))*g.unit)
		batches = operators.Unbatch(operators.Map(twice, func(_ context.Context, all [][]item) ([][]item, error) {
			out := make([][]item, len(all))
			for i := range all {
				for _, it := range all[i] {
					if len(all) > 1 { // values that are split twice share the outcome of their inner batch
						it.with = join(all[i])
					}
					out[i] = append(out[i], it)
				}
			}
			return out, nil
		}))
	}
	opts := g.stage(n)
	if g.chance(30) {
		opts = append(opts, flow.Workers(2+g.n(3)))
	}
	changed := operators.Map(batches, func(ctx context.Context, items []item) ([]item, error) {
		g.pause(ctx, n, items[0])
		out := slices.Clone(items)
		if err := g.w.meet(n, out...); err != nil {
			return nil, err
		}
		for i := range out {
			out[i] = n.change(out[i])
		}
		return out, nil
	}, opts...)
	return piece{operators.Unbatch(changed), n, n, ord}
}

// hold keeps each message until the next has arrived or some time has passed.
func (g *tree) hold(in flow.Source[item], ord order) piece {
	n := g.node("hold")
	n.calm = true // a panic would give back the held messages
	wait := time.Duration(1+g.n(10)) * g.unit
	rash := g.redelivers && g.chance(30)
	opts := append(g.stage(n), flow.Traits{Holds: 1, HoldsFor: wait})
	if g.chance(20) {
		opts, ord = append(opts, flow.Workers(2)), anyOrder
	}
	return piece{
		flow.Via(
			in,
			"hold",
			func() flow.Handler[item, item] { return &holder{g: g, n: n, wait: wait, rash: rash} },
			opts...),
		n,
		n,
		ord,
	}
}

type holder struct {
	g    *tree
	n    *node
	wait time.Duration
	rash bool
	held []flow.Held[item]
	due  time.Time
}

func (h *holder) Handle(ctx context.Context, m flow.Message[item], emit flow.Emit[item]) error {
	if h.rash { // messages that a failed call released go back
		var lost []item
		for _, held := range h.held {
			lost = append(lost, held.Value)
		}
		h.send(ctx, emit)
		if err := h.g.w.meet(h.n, m.Value); err != nil {
			h.g.w.end(h.n.id, flow.Nacked, lost...)
			return err
		}
	} else {
		if err := h.g.w.meet(h.n, m.Value); err != nil {
			return err
		}
		h.send(ctx, emit)
	}
	h.held = append(h.held, flow.Hold(ctx, m))
	h.due = time.Now().Add(h.wait)
	return nil
}

func (h *holder) send(ctx context.Context, emit flow.Emit[item]) {
	for i, held := range h.held {
		v := h.n.change(held.Value)
		if v.id%2 == 0 {
			emit(flow.Join(ctx, v, h.held[i:i+1]))
			continue
		}
		emit(flow.Derive(held.Message, v))
		held.Done()
	}
	h.held, h.due = h.held[:0], time.Time{}
}

func (h *holder) Next() time.Time { return h.due }

func (h *holder) Ring(ctx context.Context, emit flow.Emit[item]) error { h.send(ctx, emit); return nil }

func (h *holder) End(ctx context.Context, emit flow.Emit[item]) error { h.send(ctx, emit); return nil }

func (g *tree) throttle(in flow.Source[item], ord order) piece {
	n := g.plain("throttle")
	return piece{operators.Throttle(in, 10, g.unit, 1+g.n(5)), n, n, ord}
}

func (g *tree) try(in flow.Source[item], ord order, depth int) piece {
	n := g.plain("try")
	fails := func(it item) bool { return mix(g.w.seed, 82, uint64(n.id), it.id)%3 == 0 }
	n.walk = func(it item, to func(*node, item)) {
		if fails(it) {
			to(n.next[1], it)
		} else {
			to(n.next[0], n.change(it))
		}
	}
	ok, failed := operators.Try(in, func(ctx context.Context, it item) (item, error) {
		g.pause(ctx, n, it)
		if fails(it) {
			if it.id%2 == 0 {
				panic("tried in vain")
			}
			return it, fmt.Errorf("tried %v in vain", it)
		}
		return n.change(it), nil
	})
	again := operators.Map(failed, func(_ context.Context, f flow.Failure[item]) (item, error) { return f.Value, nil })
	return g.diamond(n, []flow.Source[item]{ok, again}, anyOrder, ord, depth)
}

// finish ends a line in one or more sinks, and returns the node that leads there.
func (g *tree) finish(in flow.Source[item], ord order, depth int) *node {
	if depth > 0 && g.chance(30) {
		n := g.plain("fanout")
		n.walk = func(it item, to func(*node, item)) {
			for _, next := range n.next {
				to(next, it)
			}
		}
		for _, out := range operators.FanOut(in, 2) {
			p := g.line(out, ord, depth-1, g.n(2))
			n.to(p.head)
			p.tail.to(g.finish(p.out, p.ord, depth-1))
		}
		return n
	}
	return g.sink(in, ord)
}

func (g *tree) sink(in flow.Source[item], ord order) *node {
	to, n := g.end(ord)
	g.parts = append(g.parts, flow.To(in, to))
	return n
}

// end makes a sink.
func (g *tree) end(ord order) (flow.Sink[item], *node) {
	n := g.node("sink")
	n.walk, n.calm = nil, true // its faults concern one message of a chunk; a panic would concern all
	opts := []flow.StageOption{flow.OnFault(g.w.policy(n)), flow.ChunkSize(1 + g.n(8))}
	if n.trouble > 0 {
		ord = anyOrder // retried messages are written after later ones
	}
	if g.chance(30) {
		opts = append(opts, flow.Workers(2+g.n(2)))
		if g.chance(50) {
			opts, ord = append(opts, flow.Unordered()), anyOrder
		} else {
			opts, ord = append(opts, flow.KeyedBy(keyOf)), max(ord, keyOrder)
		}
	}
	return flow.NewSink("sink", func() flow.Writer[item] { return &writer{g: g, n: n, ord: ord} }, opts...), n
}

// writer is a sink that sometimes fails as a whole or fails to open, and carries out the fate of
// each value.
type writer struct {
	g   *tree
	n   *node
	ord order
}

func (s *writer) trouble(what uint64) bool {
	if s.n.trouble == 0 {
		return false
	}
	try := s.g.w.try(s.n.id, item{id: mix(what, 9)})
	return try < 40 && mix(s.g.w.seed, what, uint64(s.n.id), uint64(try))%5 == 0
}

func (s *writer) Open(context.Context) error {
	if s.trouble(90) {
		return errPassing
	}
	return nil
}

func (s *writer) Flush(context.Context) error {
	if s.trouble(91) {
		return errPassing
	}
	return nil
}

func (s *writer) Write(ctx context.Context, chunk []flow.Message[item]) error {
	s.g.pause(ctx, s.n, chunk[0].Value)
	if s.trouble(92) {
		return errPassing
	}
	if s.trouble(93) {
		panic(errPassing)
	}
	errs, bad := make([]error, len(chunk)), false
	for i, m := range chunk {
		if errs[i] = s.g.w.meet(s.n, m.Value); errs[i] != nil {
			bad = true
			continue
		}
		s.g.w.end(s.n.id, flow.Acked, m.Value)
		s.g.w.inOrder(s.n.id, s.ord, m.Value)
	}
	if bad {
		return &flow.WriteError{Errs: errs}
	}
	return nil
}

// String describes the tree.
func (g *tree) String() string { return strings.Join(g.text, " ") }
