package flowtest

import (
	"slices"
	"testing"

	"github.com/streamerson/streamerson-go/flow"
)

// complete checks that the outputs are made of exactly the given inputs, in the promised order, and
// that all of these are acked. The checks skip the first before[i] values of output i.
func (s *operatorSuite[U]) complete(t *testing.T, r *rig[U], in []int, before []int) {
	t.Helper()
	outs := r.out()
	for i := range before {
		outs[i] = outs[i][before[i]:]
	}
	if s.Leaves {
		s.consistent(t, r, outs, flow.Nacked)
		return
	}
	for _, st := range r.settlements() {
		if st.Outcome != flow.Acked {
			t.Errorf("value %d ended %s (%v), want acked", st.Value, st.Outcome, st.Err)
		}
	}
	count := s.counted(t, outs)
	if s.Check != nil {
		s.check(t, in, outs)
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

// consistent checks that acked inputs are in all their outputs, and that the other inputs have one
// of the given outcomes.
func (s *operatorSuite[U]) consistent(t *testing.T, r *rig[U], outs [][]U, others ...flow.Outcome) {
	t.Helper()
	count := s.counted(t, outs)
	var acked []int
	for _, st := range r.settlements() {
		have, want := count[st.Value], 0
		if s.Check == nil {
			want = s.Outputs(st.Value)
		}
		switch {
		case st.Outcome == flow.Acked:
			acked = append(acked, st.Value)
			if have != want && s.Check == nil {
				t.Errorf("value %d was acked and is in %d outputs, want %d", st.Value, have, want)
			}
		case !slices.Contains(others, st.Outcome):
			t.Errorf("value %d ended %s (%v), want acked or one of %v", st.Value, st.Outcome, st.Err, others)
		case have > want && s.Check == nil:
			t.Errorf("value %d ended %s and is in %d outputs, want at most %d", st.Value, st.Outcome, have, want)
		}
	}
	if s.Check != nil {
		slices.Sort(acked)
		s.check(t, acked, outs)
	}
}

// counted checks the order of the outputs, and counts how many are made of each input.
func (s *operatorSuite[U]) counted(t *testing.T, outs [][]U) map[int]int {
	t.Helper()
	count := make(map[int]int)
	if s.Of == nil {
		return count
	}
	for _, out := range outs {
		last := make(map[int]int)
		for _, o := range out {
			for _, in := range s.Of(o) {
				count[in]++
				if s.Order == AnyOrder {
					continue
				}
				lane := in % s.inputs
				if s.Order == ByKey && s.Key != nil {
					lane = s.Key(in)
				}
				if was, ok := last[lane]; ok && in < was {
					t.Errorf("%d came after %d, the order is %s", in, was, s.Order)
				}
				last[lane] = in
			}
		}
	}
	return count
}

// check calls the traits' Check.
func (s *operatorSuite[U]) check(t *testing.T, acked []int, outs [][]U) {
	t.Helper()
	out := slices.Concat(outs...)
	if err := s.Check(acked, out); err != nil {
		t.Errorf("%d inputs were acked, and %d outputs accepted: %v", len(acked), len(out), err)
	}
}
