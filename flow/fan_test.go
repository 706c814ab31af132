package flow

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// concat reads its inputs one after the other.
type concat struct{ at, inputs int }

func (c *concat) Handle(_ context.Context, _ int, m Message[int], emit Emit[int]) error {
	emit(m)
	return nil
}

func (c *concat) Pick([]bool) []int { return []int{c.at} }

func (c *concat) PortEnd(_ context.Context, port int, _ Emit[int]) error { c.at = port + 1; return nil }

func TestGatherPicks(t *testing.T) {
	var ins []Source[int]
	var srcs []*script
	for range 3 {
		src := newScript(1000, MaxInFlight(100))
		srcs = append(srcs, src)
		ins = append(ins, src.source())
	}
	out := &bag[int]{}
	all := Gather("concat", ins, func() GatherHandler[int, int] { return &concat{inputs: 3} })
	if err := New("g", To(all, out.sink())).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := slices.Concat(upTo(1000), upTo(1000), upTo(1000))
	if d := cmp.Diff(want, out.values()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, src := range srcs {
		src.wantAllAcked(t)
	}
}

// zipper pairs the n-th of both sides.
type zipper struct {
	left []Held[int]
	over bool
}

func (z *zipper) Left(ctx context.Context, m Message[int], _ Emit[int]) error {
	z.left = append(z.left, Hold(ctx, m))
	return nil
}

func (z *zipper) Right(ctx context.Context, m Message[string], emit Emit[int]) error {
	pair := []Held[int]{z.left[0]}
	z.left = z.left[1:]
	right := Hold(ctx, Derive(m, len(m.Value)))
	emit(Join(ctx, pair[0].Value+len(m.Value), append(pair, right)))
	return nil
}

func (z *zipper) Pick(open []bool) []int {
	switch {
	case z.over:
		return nil
	case len(z.left) == 0:
		return []int{0}
	default:
		return []int{1}
	}
}

func (z *zipper) PortEnd(context.Context, int, Emit[int]) error { z.over = true; return nil }

func TestPairEndsWithTheShorter(t *testing.T) {
	left, right, out := newScript(1000, MaxInFlight(50)), newScript(700, MaxInFlight(30)), &bag[int]{}
	words := mapTo(right.source(), func(_ context.Context, v int) (string, error) { return "xyz", nil })
	zipped := Pair("zip", left.source(), words, func() PairHandler[int, string, int] { return &zipper{} })
	if err := New("g", To(zipped, out.sink())).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	right.wantAllAcked(t)
	left.wantOutcomes(t, func(v int) Outcome {
		if v < 700 {
			return Acked
		}
		return Nacked
	})
	if got := out.values(); len(got) != 700 || got[699] != 699+3 {
		t.Errorf("%d pairs", len(got))
	}
}

func TestMergeKeepsEachInputsOrder(t *testing.T) {
	a, b, out := newScript(2000), newScript(2000), &bag[int]{}
	neg := mapTo(b.source(), func(_ context.Context, v int) (int, error) { return -v, nil })
	if err := New("g", To(Merge("merge", []Source[int]{a.source(), neg}), out.sink())).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.wantAllAcked(t)
	b.wantAllAcked(t)
	up, down := 0, 0
	for _, v := range out.values() {
		if v > 0 && v < up || v < 0 && v > down {
			t.Fatalf("%d out of order", v)
		}
		if v > 0 {
			up = v
		} else {
			down = v
		}
	}
}

func TestFork(t *testing.T) {
	src, even, odd := newScript(1000), &bag[int]{}, &bag[string]{}
	a, b := Fork(src.source(), "parity", func() ForkFunc[int, int, string] {
		return func(_ context.Context, m Message[int], a Emit[int], b Emit[string]) error {
			switch {
			case m.Value%10 == 0:
				return Skip
			case m.Value%2 == 0:
				a(m)
			default:
				b(Derive(m, "odd"))
			}
			return nil
		}
	})
	if err := New("g", To(a, even.sink()), To(b, odd.sink())).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	src.wantOutcomes(t, func(v int) Outcome {
		if v%10 == 0 {
			return Dropped
		}
		return Acked
	})
	if len(even.values()) != 400 || len(odd.values()) != 500 {
		t.Errorf("%d even, %d odd", len(even.values()), len(odd.values()))
	}
}

func TestSinkWorkers(t *testing.T) {
	for name, opts := range map[string][]StageOption{
		"unordered": {Workers(4), Unordered(), ChunkSize(16)},
		"keyed":     {Workers(4), KeyedBy(func(v int) int { return v % 7 }), ChunkSize(16)},
	} {
		t.Run(name, func(t *testing.T) {
			src, out := newScript(5000), &bag[int]{}
			if err := New("g", To(src.source(), out.sink(opts...))).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			src.wantAllAcked(t)
			last := map[int]int{}
			for _, v := range out.values() {
				if name == "keyed" && v < last[v%7] {
					t.Fatalf("key %d out of order", v%7)
				}
				last[v%7] = v
			}
		})
	}
}

func TestKeyFunctionPanics(t *testing.T) {
	key := func(v int) int {
		if v == 5 {
			panic("key")
		}
		return v
	}
	for name, part := range map[string]func(Source[int], *bag[int]) Branch{
		"stage": func(s Source[int], out *bag[int]) Branch {
			return To(mapTo(s, double, Workers(2), KeyedBy(key), OnFault(DeadLetter)), out.sink())
		},
		"sink": func(s Source[int], out *bag[int]) Branch {
			return To(s, out.sink(Workers(2), KeyedBy(key), OnFault(DeadLetter)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			src, out := newScript(10), &bag[int]{}
			if err := New("g", part(src.source(), out)).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			src.wantOutcomes(t, func(v int) Outcome {
				if v == 5 {
					return Dead
				}
				return Acked
			})
		})
	}
}
