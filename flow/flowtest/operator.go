package flowtest

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/streamerson/streamerson-go/flow"
)

// errBad is the deliberate error of conformance tests.
var errBad = errors.New("flowtest: bad on purpose")

// TestOperator tests that an operator keeps the promises of its traits. Each entry is settled
// exactly once, with the worst outcome of its results. The order is kept. No more entries are in
// flight than the credits allow. The operator ends, drains and stops without leaving anything
// behind. The tests send none, one and many values, also with the fewest credits that the operator
// needs. Then seeds of chaos choose chunks, delays, faults, drains and stops. op makes the operator
// from its source. Each test runs in its own bubble.
func TestOperator[U any](t *testing.T, traits Traits[U], op func(in flow.Source[int]) flow.Source[U]) Proof {
	t.Helper()
	failing := traits.Failing
	traits.Calls = failing != nil
	return TestWired(t, traits, 1,
		func(ins []flow.Source[int], f func(int) error, opts ...flow.StageOption) Wired[U] {
			if failing != nil && f != nil {
				return Wired[U]{Outs: []flow.Source[U]{failing(ins[0], f, opts...)}}
			}
			return Wired[U]{Outs: []flow.Source[U]{op(ins[0])}}
		})
}

// Wired is an operator under test with its outputs. Parts are the further branches of its graph,
// such as one that the operator has returned.
type Wired[U any] struct {
	Outs  []flow.Source[U]
	Parts []flow.Part
}

// TestWired is TestOperator for an operator with several inputs or outputs. wire makes it from its
// sources. With n inputs, value v arrives on input v modulo n, and Traits.Order compares values of
// the same input and output. If Traits.Calls is set, the operator must call f with each value and
// use opts; otherwise f and opts are to be ignored. f is nil in tests without such faults.
func TestWired[U any](
	t *testing.T, traits Traits[U], inputs int,
	wire func(ins []flow.Source[int], f func(int) error, opts ...flow.StageOption) Wired[U],
) Proof {
	t.Helper()
	s := &operatorSuite[U]{Traits: traits, inputs: inputs, wire: wire, proof: Proof{Order: traits.Order}}
	if s.Of == nil && s.Check == nil {
		s.Of = func(out U) []int {
			if v, ok := any(out).(int); ok {
				return []int{v}
			}
			panic(fmt.Sprintf("flowtest: %T is not an int: set Traits.Of or Traits.Check", out))
		}
	}
	if s.Outputs == nil {
		s.Outputs = func(int) int { return 1 }
	}
	for _, n := range []int{0, 1, 2, 500} {
		s.run(t, fmt.Sprintf("%d values", n), func(t *testing.T) { s.passes(t, n, 4096) }, SameResult)
	}
	s.run(t, "few credits", func(t *testing.T) { s.passes(t, 50, max(1, s.Holds)) }, SameResult, Bounded)
	s.run(t, "one by one", s.oneByOne, SameResult)
	s.run(t, "sink fails", s.sinkFails, FaultTolerant)
	s.run(t, "sink blocks", s.sinkBlocks, Bounded)
	s.run(t, "drain", s.drains, Drainable)
	s.run(t, "stop", s.stops, Cancellable)
	s.run(t, "runs again", s.again, SameResult, Drainable)
	if s.Calls {
		s.run(t, "function fails", func(t *testing.T) { s.functionFails(t, false) }, FaultTolerant)
		s.run(t, "function panics", func(t *testing.T) { s.functionFails(t, true) }, FaultTolerant)
		s.run(t, "function fails and succeeds", s.functionRetries, FaultTolerant)
	}
	s.chaos(t)
	return s.proof
}

type operatorSuite[U any] struct {
	Traits[U]
	inputs int
	wire   func(ins []flow.Source[int], f func(int) error, opts ...flow.StageOption) Wired[U]
	proof  Proof
}

func (s *operatorSuite[U]) run(t *testing.T, name string, f func(t *testing.T), proves ...Promise) {
	if runIn(t, name, false, limitOf(s.Limit, 0, false), f) {
		s.proof.counts(proves...)
	}
}

// rig is an operator between feeds and collectors.
type rig[U any] struct {
	t     *testing.T
	feeds []*Feeder[int]
	got   []*Collector[U] // one for each output
	parts []flow.Part
}

// rigged configures a rig. The zero value is for a good function, many credits and good sinks.
type rigged struct {
	credits int // of each source; 0: 4096
	feed    []FeedOption
	before  func(flow.Source[int]) flow.Source[int] // a stage before the operator
	f       func(int) error                         // the operator's function
	opts    []flow.StageOption                      // of the operator, with f
	sink    []flow.StageOption
}

func (s *operatorSuite[U]) rig(t *testing.T, c rigged) *rig[U] {
	t.Helper()
	if c.credits == 0 {
		c.credits = 4096
	}
	r := &rig[U]{t: t, parts: []flow.Part{flow.Log(slog.New(slog.DiscardHandler))}} // it fails messages on purpose
	ins := make([]flow.Source[int], s.inputs)
	for i := range ins {
		src, feed := Feed[int](t, append([]FeedOption{FeedStage(flow.MaxInFlight(c.credits))}, c.feed...)...)
		if c.before != nil {
			src = c.before(src)
		}
		ins[i] = src
		r.feeds = append(r.feeds, feed)
	}
	wired := s.wire(ins, c.f, c.opts...)
	for _, out := range wired.Outs {
		sink, got := Collect[U](t, c.sink...)
		r.got = append(r.got, got)
		r.parts = append(r.parts, flow.To(out, sink))
	}
	r.parts = append(r.parts, wired.Parts...)
	return r
}

func (r *rig[U]) start(more ...flow.Part) *flow.Running {
	r.t.Helper()
	return Start(r.t, append(more, r.parts...)...)
}

// send sends each value to its input.
func (r *rig[U]) send(values ...int) {
	for _, v := range values {
		r.feeds[v%len(r.feeds)].Send(v)
	}
}

func (r *rig[U]) close() {
	for _, f := range r.feeds {
		f.Close()
	}
}

// runAll sends n values through the graph, to its end.
func (r *rig[U]) runAll(n int, more ...flow.Part) {
	r.t.Helper()
	r.send(upTo(n)...)
	r.close()
	if err := Run(r.t, append(more, r.parts...)...); err != nil {
		r.t.Fatal(err)
	}
}

// sinks calls f with the collector of each output.
func (r *rig[U]) sinks(f func(*Collector[U])) {
	for _, c := range r.got {
		f(c)
	}
}

// out returns the outputs so far, by output.
func (r *rig[U]) out() [][]U {
	all := make([][]U, len(r.got))
	for i, c := range r.got {
		all[i] = c.Values()
	}
	return all
}

func (r *rig[U]) outstanding() (n int) {
	for _, f := range r.feeds {
		n += f.Outstanding()
	}
	return n
}

func (r *rig[U]) settlements() (all []Settlement[int]) {
	for _, f := range r.feeds {
		all = append(all, f.Settlements()...)
	}
	return all
}

// settled waits until n entries are settled.
func (r *rig[U]) settled(n int) {
	r.t.Helper()
	for i, f := range r.feeds {
		share := (n - i + len(r.feeds) - 1) / len(r.feeds) // the values of this input
		if !f.await(func() bool { return len(f.settled) >= share }) {
			r.t.Errorf("input %d: %d entries are settled, want %d", i, len(f.Settlements()), share)
		}
	}
	if have := len(r.settlements()); have != n {
		r.t.Errorf("%d entries were settled, want %d", have, n)
	}
}

func upTo(n int) []int { return fromTo(0, n) }

// fromTo returns the numbers from first up to and without end.
func fromTo(first, end int) []int {
	values := make([]int, end-first)
	for i := range values {
		values[i] = first + i
	}
	return values
}

// bad selects the values that fail on purpose.
func bad(in int) bool { return in%7 == 3 }

func (s *operatorSuite[U]) bad(out U) bool { return slices.ContainsFunc(s.Of(out), bad) }
