package flowtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// errBad is the deliberate error of conformance tests.
var errBad = errors.New("flowtest: bad on purpose")

// TestOperator tests that an operator keeps the promises of its traits. Each entry is settled
// exactly once, with the worst outcome of its results. The order is kept. No more entries are in
// flight than the credits allow. The operator ends, drains and stops without leaving anything
// behind. It is tested with none, one and many values, also with the fewest credits that it needs.
// op makes the operator from its source. Each test runs in its own bubble.
func TestOperator[U any](t *testing.T, traits Traits[U], op func(in flow.Source[int]) flow.Source[U]) {
	t.Helper()
	s := &operatorSuite[U]{Traits: traits, op: op}
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
		s.run(t, fmt.Sprintf("%d values", n), func(t *testing.T) { s.passes(t, n, 4096) })
	}
	s.run(t, "few credits", func(t *testing.T) { s.passes(t, 50, max(1, s.Holds)) })
	s.run(t, "one by one", s.oneByOne)
	s.run(t, "sink fails", s.sinkFails)
	s.run(t, "sink blocks", s.sinkBlocks)
	s.run(t, "drain", s.drains)
	s.run(t, "stop", s.stops)
	s.run(t, "runs again", s.again)
	if s.Failing != nil {
		s.run(t, "function fails", func(t *testing.T) { s.functionFails(t, false) })
		s.run(t, "function panics", func(t *testing.T) { s.functionFails(t, true) })
		s.run(t, "function fails and succeeds", s.functionRetries)
	}
}

type operatorSuite[U any] struct {
	Traits[U]
	op func(flow.Source[int]) flow.Source[U]
}

func (s *operatorSuite[U]) run(t *testing.T, name string, f func(t *testing.T)) {
	runIn(t, name, false, limitOf(s.Limit, 0, false), f)
}

// feed makes a feed with that many credits, and the operator after it.
func (s *operatorSuite[U]) feed(t *testing.T, credits int) (flow.Source[U], *Feeder[int]) {
	src, feed := Feed[int](t, FeedStage(flow.MaxInFlight(credits)))
	return s.op(src), feed
}

// runAll sends n values through a graph of the branch, to its end.
func runAll(t *testing.T, feed *Feeder[int], n int, b flow.Branch) {
	t.Helper()
	feed.Send(upTo(n)...)
	feed.Close()
	if err := Run(t, b); err != nil {
		t.Fatal(err)
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

// arrived checks that the outputs are made of exactly the given inputs, in the promised order.
func (s *operatorSuite[U]) arrived(t *testing.T, in []int, out []U) {
	t.Helper()
	count := make(map[int]int)
	if s.Of != nil {
		s.ordered(t, out, count)
	}
	if s.Check != nil {
		s.check(t, in, out)
		return
	}
	for _, v := range in {
		if count[v] != s.Outputs(v) {
			t.Errorf("value %d is in %d outputs, want %d", v, count[v], s.Outputs(v))
		}
		delete(count, v)
	}
	if len(count) > 0 {
		t.Errorf("there are outputs of values that were not sent: %v", count)
	}
}

// ordered checks the order of the outputs, and counts how many are made of each input.
func (s *operatorSuite[U]) ordered(t *testing.T, out []U, count map[int]int) {
	t.Helper()
	last := make(map[int]int)
	for _, o := range out {
		for _, in := range s.Of(o) {
			count[in]++
			key := 0
			switch {
			case s.Order == AnyOrder:
				continue
			case s.Order == ByKey && s.Key != nil:
				key = s.Key(in)
			}
			if was, ok := last[key]; ok && in < was {
				t.Errorf("%d came after %d, the order is %s", in, was, s.Order)
			}
			last[key] = in
		}
	}
}

// check calls the traits' Check.
func (s *operatorSuite[U]) check(t *testing.T, acked []int, out []U) {
	t.Helper()
	if err := s.Check(acked, out); err != nil {
		t.Errorf("%d inputs were acked, and %d outputs accepted: %v", len(acked), len(out), err)
	}
}

// ackedAreOutput calls the traits' Check with the inputs that were acked. The other inputs must have
// one of the given outcomes.
func (s *operatorSuite[U]) ackedAreOutput(t *testing.T, feed *Feeder[int], out []U, others ...flow.Outcome) {
	t.Helper()
	var acked []int
	for _, st := range feed.Settlements() {
		switch {
		case st.Outcome == flow.Acked:
			acked = append(acked, st.Value)
		case !slices.Contains(others, st.Outcome):
			t.Errorf("value %d ended %s (%v), want acked or one of %v", st.Value, st.Outcome, st.Err, others)
		}
	}
	slices.Sort(acked)
	s.check(t, acked, out)
}

func (s *operatorSuite[U]) passes(t *testing.T, n, credits int) {
	src, feed := s.feed(t, credits)
	sink, got := Collect[U](t)
	runAll(t, feed, n, flow.To(src, sink))
	s.arrived(t, upTo(n), got.Values())
	feed.wantAllAcked(n)
	if feed.MostOutstanding() > credits {
		t.Errorf("%d entries were in flight, there are %d credits", feed.MostOutstanding(), credits)
	}
}

// oneByOne sends values with time between them.
func (s *operatorSuite[U]) oneByOne(t *testing.T) {
	src, feed := s.feed(t, 4096)
	sink, got := Collect[U](t)
	r := Start(t, flow.To(src, sink))
	for i := range 10 {
		feed.Send(i)
		time.Sleep(time.Second)
	}
	feed.Close()
	if err := waitFor(t, r); err != nil {
		t.Fatal(err)
	}
	s.arrived(t, upTo(10), got.Values())
	feed.wantAllAcked(10)
}

func bad(in int) bool { return in%7 == 3 }

// sinkFails makes the sink fail outputs permanently: those of bad inputs, or all if Check decides.
func (s *operatorSuite[U]) sinkFails(t *testing.T) {
	const n = 100
	src, feed := s.feed(t, 4096)
	sink, got := Collect[U](t, flow.OnFault(flow.NackAfter(time.Second)))
	got.FailOn(func(m flow.Message[U]) error {
		if s.Check != nil || slices.ContainsFunc(s.Of(m.Value), bad) {
			return errBad
		}
		return nil
	})
	runAll(t, feed, n, flow.To(src, sink))
	s.outcomes(t, feed, n, got.Values(), flow.Nacked)
}

// outcomes checks that the inputs of failed outputs ended with o, and that the others were acked.
func (s *operatorSuite[U]) outcomes(t *testing.T, feed *Feeder[int], n int, out []U, o flow.Outcome) {
	t.Helper()
	settled := feed.Settlements()
	if len(settled) != n {
		t.Errorf("%d entries were settled, want %d", len(settled), n)
	}
	if s.Check != nil {
		s.ackedAreOutput(t, feed, out, o)
		return
	}
	for _, st := range settled {
		want := flow.Acked
		if bad(st.Value) && s.Outputs(st.Value) > 0 {
			want = o
		}
		if st.Outcome != want && (!s.Joined || want == o) {
			t.Errorf("value %d ended %s (%v), want %s", st.Value, st.Outcome, st.Err, want)
		}
	}
}

// sinkBlocks blocks the sink: no more than the credits may be read, and everything continues
// afterwards.
func (s *operatorSuite[U]) sinkBlocks(t *testing.T) {
	const n = 300
	credits := max(20, s.Holds)
	src, feed := s.feed(t, credits)
	sink, got := Collect[U](t)
	got.Block()
	r := Start(t, flow.To(src, sink))
	feed.Send(upTo(n)...)
	time.Sleep(time.Minute)
	if feed.Outstanding() > credits {
		t.Errorf("%d entries are in flight, there are %d credits", feed.Outstanding(), credits)
	}
	got.Unblock()
	feed.Close()
	if err := waitFor(t, r); err != nil {
		t.Fatal(err)
	}
	s.arrived(t, upTo(n), got.Values())
	feed.wantAllAcked(n)
}

// drains ends the graph of an endless source: everything that was read must be finished.
func (s *operatorSuite[U]) drains(t *testing.T) {
	const n = 40
	src, feed := s.feed(t, 4096)
	sink, got := Collect[U](t)
	r := Start(t, flow.To(src, sink), flow.DrainTimeout(time.Hour))
	feed.Send(upTo(n)...)
	synctest.Wait()
	if report, err := r.Drain(context.Background()); err != nil || report.Released != 0 {
		t.Errorf("drain: %v, %d entries given back, want none", err, report.Released)
	}
	s.arrived(t, upTo(n), got.Values())
	feed.wantAllAcked(n)
}

// stops ends the graph while the sink is blocked: everything that was read must go back.
func (s *operatorSuite[U]) stops(t *testing.T) {
	const n = 40
	src, feed := s.feed(t, 4096)
	sink, got := Collect[U](t)
	got.Block()
	r := Start(t, flow.To(src, sink))
	feed.Send(upTo(n)...)
	time.Sleep(time.Second)
	if err := r.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	feed.WantOutstanding(0)
	if s.Check != nil {
		s.ackedAreOutput(t, feed, got.Values(), flow.Nacked)
		return
	}
	for _, st := range feed.Settlements() {
		if s.Outputs(st.Value) > 0 && st.Outcome != flow.Nacked {
			t.Errorf("value %d ended %s, though nothing was written", st.Value, st.Outcome)
		}
	}
}

// again runs one blueprint twice. State must not be carried over, unless the traits set Stored.
func (s *operatorSuite[U]) again(t *testing.T) {
	src, feed := s.feed(t, 4096)
	sink, got := Collect[U](t)
	g := flow.New("again", flow.To(src, sink), flow.DrainTimeout(time.Hour))
	for round := range 2 {
		in, before := upTo(20), len(got.Values())
		if s.Stored {
			in = fromTo(20*round, 20*round+20)
		}
		r, err := g.Start(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		feed.Send(in...)
		synctest.Wait()
		if _, err := r.Drain(context.Background()); err != nil {
			t.Fatal(err)
		}
		s.arrived(t, in, got.Values()[before:])
	}
	feed.wantAllAcked(40)
}

// functionFails makes the operator's function fail permanently for some values.
func (s *operatorSuite[U]) functionFails(t *testing.T, panics bool) {
	const n = 100
	in, feed := Feed[int](t)
	src := s.Failing(in, func(v int) error {
		switch {
		case !bad(v):
			return nil
		case panics:
			panic(errBad)
		}
		return errBad
	}, flow.OnFault(flow.DeadLetter))
	sink, got := Collect[U](t)
	runAll(t, feed, n, flow.To(src, sink))
	for _, st := range feed.Settlements() {
		var ok bool
		switch dead := st.Outcome == flow.Dead; {
		case s.Joined: // also a good value, with a bad one
			ok = dead || st.Outcome == flow.Nacked || !bad(st.Value)
		default:
			ok = dead == bad(st.Value)
		}
		if !ok {
			t.Errorf("value %d ended %s (%v)", st.Value, st.Outcome, st.Err)
		}
	}
	if s.Check != nil {
		s.ackedAreOutput(t, feed, got.Values(), flow.Dead, flow.Nacked)
	}
	if s.Of == nil {
		return
	}
	for _, o := range got.Values() {
		if slices.ContainsFunc(s.Of(o), bad) {
			t.Errorf("output %v is of a value that failed", o)
		}
	}
}

// functionRetries makes the function fail once for some values: a retry succeeds.
func (s *operatorSuite[U]) functionRetries(t *testing.T) {
	const n = 50
	in, feed := Feed[int](t)
	var failed sync.Map // the values that have failed
	src := s.Failing(in, func(v int) error {
		if _, before := failed.LoadOrStore(v, true); bad(v) && !before {
			return errBad
		}
		return nil
	}, flow.OnFault(flow.Retry(3, time.Second, flow.Nack)))
	sink, got := Collect[U](t)
	feed.Send(upTo(n)...)
	feed.Close()
	if err := Run(t, flow.To(src, sink), flow.DrainTimeout(time.Hour)); err != nil {
		t.Fatal(err)
	}
	s.arrived(t, upTo(n), got.Values())
	feed.wantAllAcked(n)
}
