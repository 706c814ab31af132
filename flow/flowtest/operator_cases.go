package flowtest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

func (s *operatorSuite[U]) passes(t *testing.T, n, credits int) {
	r := s.rig(t, rigged{credits: credits})
	r.runAll(n)
	if !s.Leaves {
		r.settled(n)
	}
	s.complete(t, r, upTo(n), nil)
	for _, f := range r.feeds {
		if f.MostOutstanding() > credits {
			t.Errorf("%d entries were in flight, there are %d credits", f.MostOutstanding(), credits)
		}
	}
}

// oneByOne sends values with time between them.
func (s *operatorSuite[U]) oneByOne(t *testing.T) {
	r := s.rig(t, rigged{})
	running := r.start()
	for i := range 10 {
		r.send(i)
		time.Sleep(time.Second)
	}
	r.close()
	if err := waitFor(t, running); err != nil {
		t.Fatal(err)
	}
	s.complete(t, r, upTo(10), nil)
}

// sinkFails makes the sinks fail outputs permanently: those of bad inputs, or all if Check decides.
func (s *operatorSuite[U]) sinkFails(t *testing.T) {
	const n = 100
	r := s.rig(t, rigged{sink: []flow.StageOption{flow.OnFault(flow.NackAfter(time.Second))}})
	r.sinks(func(c *Collector[U]) {
		c.FailOn(func(m flow.Message[U]) error {
			if s.Check != nil || s.bad(m.Value) {
				return errBad
			}
			return nil
		})
	})
	r.runAll(n)
	s.settled(r, n)
	if s.Check != nil || s.Leaves {
		s.consistent(t, r, r.out(), flow.Nacked)
		return
	}
	for _, st := range r.settlements() {
		want := flow.Acked
		if bad(st.Value) && s.Outputs(st.Value) > 0 {
			want = flow.Nacked
		}
		if st.Outcome != want && (!s.Joined || want == flow.Nacked) {
			t.Errorf("value %d ended %s (%v), want %s", st.Value, st.Outcome, st.Err, want)
		}
	}
}

// sinkBlocks blocks the sinks, first all and then each alone: no more than the credits may be read,
// and everything continues afterwards.
func (s *operatorSuite[U]) sinkBlocks(t *testing.T) {
	const n = 300
	credits := max(20, s.Holds)
	r := s.rig(t, rigged{credits: credits})
	r.sinks((*Collector[U]).Block)
	running := r.start()
	r.send(upTo(n)...)
	bounded := func() {
		t.Helper()
		time.Sleep(time.Minute)
		for _, f := range r.feeds {
			if f.Outstanding() > credits {
				t.Errorf("%d entries are in flight, there are %d credits", f.Outstanding(), credits)
			}
		}
	}
	bounded()
	if len(r.got) > 1 {
		for i, free := range r.got {
			r.got[(i+1)%len(r.got)].Block()
			free.Unblock()
			bounded()
		}
	}
	r.sinks((*Collector[U]).Unblock)
	r.close()
	if err := waitFor(t, running); err != nil {
		t.Fatal(err)
	}
	if !s.Leaves {
		r.settled(n)
	}
	s.complete(t, r, upTo(n), nil)
}

// drains ends the graph of an endless source: everything that was read must be finished.
func (s *operatorSuite[U]) drains(t *testing.T) {
	const n = 40
	r := s.rig(t, rigged{})
	running := r.start(flow.DrainTimeout(time.Hour))
	r.send(upTo(n)...)
	synctest.Wait()
	report, err := running.Drain(context.Background())
	if err != nil || report.Released != 0 && !s.Leaves {
		t.Errorf("drain: %v, %d entries given back, want none", err, report.Released)
	}
	in := s.read(upTo(n))
	s.settled(r, len(in))
	s.complete(t, r, in, nil)
}

// read returns the inputs that are read while no input ends.
func (s *operatorSuite[U]) read(in []int) []int {
	if !s.InTurn {
		return in
	}
	return slices.DeleteFunc(in, func(v int) bool { return v%s.inputs != 0 })
}

// settled waits until n entries are settled. If it cannot know how many are read, it checks that none
// is in flight.
func (s *operatorSuite[U]) settled(r *rig[U], n int) {
	r.t.Helper()
	if !s.InTurn {
		r.settled(n)
	} else if n := r.outstanding(); n > 0 {
		r.t.Errorf("%d entries are not settled", n)
	}
}

// stops ends the graph while the sinks are blocked: everything that was read must go back.
func (s *operatorSuite[U]) stops(t *testing.T) {
	const n = 40
	r := s.rig(t, rigged{})
	r.sinks((*Collector[U]).Block)
	running := r.start()
	r.send(upTo(n)...)
	time.Sleep(time.Second)
	if err := running.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if n := r.outstanding(); n > 0 {
		t.Errorf("%d deliveries are outstanding after a stop", n)
	}
	s.consistent(t, r, r.out(), flow.Nacked)
}

// again runs one blueprint twice. State must not be carried over, unless the traits set Stored.
func (s *operatorSuite[U]) again(t *testing.T) {
	r := s.rig(t, rigged{})
	g := flow.New("again", append([]flow.Part{flow.DrainTimeout(time.Hour)}, r.parts...)...)
	for round := range 2 {
		in, before := upTo(20), make([]int, len(r.got))
		if s.Stored {
			in = fromTo(20*round, 20*round+20)
		}
		for i, c := range r.got {
			before[i] = len(c.Values())
		}
		running, err := g.Start(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		r.send(in...)
		synctest.Wait()
		if _, err := running.Drain(context.Background()); err != nil {
			t.Fatal(err)
		}
		if have, want := len(r.settlements()), 20*(round+1); have != want && !s.InTurn {
			t.Errorf("%d entries were settled, want %d", have, want)
		}
		if !s.Leaves { // the outcomes of both rounds are in one list
			s.complete(t, r, s.read(in), before)
		}
	}
}

// functionFails makes the operator's function fail permanently for some values.
func (s *operatorSuite[U]) functionFails(t *testing.T, panics bool) {
	const n = 100
	r := s.rig(t, rigged{opts: []flow.StageOption{flow.OnFault(flow.DeadLetter)}, f: func(v int) error {
		switch {
		case !bad(v):
			return nil
		case panics:
			panic(errBad)
		}
		return errBad
	}})
	r.runAll(n)
	r.settled(n)
	for _, st := range r.settlements() {
		var ok bool
		switch dead := st.Outcome == flow.Dead; {
		case s.Joined: // also a good value, with a bad one
			ok = dead || st.Outcome == flow.Nacked || !bad(st.Value)
		case s.Leaves:
			ok = dead == bad(st.Value) || st.Outcome == flow.Nacked
		default:
			ok = dead == bad(st.Value)
		}
		if !ok {
			t.Errorf("value %d ended %s (%v)", st.Value, st.Outcome, st.Err)
		}
	}
	s.consistent(t, r, r.out(), flow.Dead, flow.Nacked)
	if s.Of == nil {
		return
	}
	for _, out := range r.out() {
		for _, o := range out {
			if s.bad(o) {
				t.Errorf("output %v is of a value that failed", o)
			}
		}
	}
}

// functionRetries makes the function fail once for some values: a retry succeeds.
func (s *operatorSuite[U]) functionRetries(t *testing.T) {
	const n = 50
	var failed sync.Map // the values that have failed
	r := s.rig(t, rigged{
		opts: []flow.StageOption{flow.OnFault(flow.Retry(3, time.Second, flow.Nack))},
		f: func(v int) error {
			if _, before := failed.LoadOrStore(v, true); bad(v) && !before {
				return errBad
			}
			return nil
		},
	})
	r.runAll(n, flow.DrainTimeout(time.Hour))
	r.settled(n)
	s.complete(t, r, upTo(n), nil)
}
