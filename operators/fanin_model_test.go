package operators_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
)

// FuzzFanIns compares the fan-ins that do not depend on time with naive loops. A seed or the
// fuzzer's bytes choose the inputs. The chunks have random sizes and random delays.
func FuzzFanIns(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(seed, []byte{byte(seed), byte(seed * 7)})
	}
	f.Fuzz(func(t *testing.T, seed uint64, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 3))
			lists := make([][]int, 2+rng.IntN(3))
			for i, n := range rng.Perm(rng.IntN(120)) { // distinct numbers, with gaps
				if len(data) > 0 && data[i%len(data)]%5 == 4 {
					continue
				}
				to := rng.IntN(len(lists))
				lists[to] = append(lists[to], n)
			}
			compareFanIn(t, rng, lists)
		})
	})
}

// compareFanIn chooses a fan-in, and runs it on the lists.
func compareFanIn(t *testing.T, rng *rand.Rand, lists [][]int) {
	var want []int
	var op func(ins []ints) ints
	switch rng.IntN(6) {
	case 0:
		op = func(ins []ints) ints { return operators.Concat(ins...) }
		want = slices.Concat(lists...)
	case 1:
		segment := 1 + rng.IntN(4)
		op = func(ins []ints) ints { return operators.Interleave(ins, segment) }
		want = interleaved(lists, segment)
	case 2:
		for _, l := range lists {
			slices.Sort(l)
		}
		op = func(ins []ints) ints { return operators.MergeSorted(ins, cmp.Compare[int], 0) }
		want = slices.Sorted(slices.Values(slices.Concat(lists...)))
	case 3:
		op = func(ins []ints) ints {
			return operators.MergeSequence(ins, func(v int) uint64 { return uint64(v) }, 200, time.Hour,
				operators.SkipGap)
		}
		want = slices.Sorted(slices.Values(slices.Concat(lists...)))
	case 4:
		lists = lists[:2]
		op = func(ins []ints) ints { return operators.OrElse(ins[0], ins[1]) }
		if want = lists[0]; len(want) == 0 {
			want = lists[1]
		}
	case 5:
		lists = lists[:2]
		op = func(ins []ints) ints {
			return operators.Map(
				operators.Zip(ins[0], ins[1]),
				func(_ context.Context, p operators.Pair[int, int]) (int, error) {
					return p.First*1000 + p.Second, nil
				},
			)
		}
		for i := range min(len(lists[0]), len(lists[1])) {
			want = append(want, lists[0][i]*1000+lists[1][i])
		}
	}
	var ins []ints
	for _, l := range lists {
		src, feed := flowtest.Feed[int](t, flowtest.FeedStage(flow.ChunkSize(1+rng.IntN(9))))
		feed.Send(l...)
		feed.Close()
		ins = append(ins, flowtest.Chaos(t, rng.Uint64(), flowtest.Rates{Delay: rng.Float64() / 2}, src))
	}
	sink, got := flowtest.Collect[int](t)
	if err := flowtest.Run(t, flow.To(op(ins), sink)); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(want, got.Values(), equateEmpty); diff != "" {
		t.Errorf("of %v (-want +got):\n%s", lists, diff)
	}
}

var equateEmpty = gocmp.Transformer("empty", func(s []int) []int { return append([]int{}, s...) })

// interleaved is a naive Interleave.
func interleaved(lists [][]int, segment int) (out []int) {
	rest := slices.Clone(lists)
	for len(out) < len(slices.Concat(lists...)) {
		for i, l := range rest {
			n := min(segment, len(l))
			out = append(out, l[:n]...)
			rest[i] = l[n:]
		}
	}
	return out
}

// backlog runs a merge of inputs that all have messages: the sink takes none until they have. Value v
// of input i is i*1000+v. It returns the inputs of the outputs.
func backlog(t *testing.T, inputs, n int, op func(ins []ints) ints) (ports []int) {
	t.Helper()
	ins := make([]ints, inputs)
	for i := range ins {
		src, feed := flowtest.Feed[int](t)
		for v := range n {
			feed.Send(1000*i + v)
		}
		feed.Close()
		ins[i] = src
	}
	sink, got := flowtest.Collect[int](t, flow.ChunkSize(1))
	got.Block()
	r := flowtest.Start(t, flow.To(op(ins), sink))
	synctest.Wait()
	got.Unblock()
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, v := range got.Values() {
		ports = append(ports, v/1000)
	}
	return ports
}

func TestMergePreferred(t *testing.T) {
	virtual(t, "the others get one turn in 65", func(t *testing.T) {
		ports := backlog(t, 3, 250, func(ins []ints) ints { return operators.MergePreferred(ins[0], ins[1:]) })
		row, longest, others := 0, 0, []int{}
		for _, p := range ports[1 : 1+4*65-64] { // the first message came before the others
			if p == 0 {
				row++
				continue
			}
			longest, row, others = max(longest, row), 0, append(others, p)
		}
		if longest > 64 || len(others) < 3 {
			t.Errorf("%d messages of the preferred input in a row, and %v others", longest, others)
		}
		for i := 1; i < len(others); i++ {
			if others[i] == others[i-1] {
				t.Errorf("the others do not take turns: %v", others)
			}
		}
	})
}

func TestMergeWeighted(t *testing.T) {
	virtual(t, "in proportion", func(t *testing.T) {
		ports := backlog(t, 3, 240, func(ins []ints) ints { return operators.MergeWeighted(ins, []int{3, 1, 2}) })
		count := [3]int{}
		for _, p := range ports[6 : 6+120] {
			count[p]++
		}
		if count != [3]int{60, 20, 40} {
			t.Errorf("120 messages are %v, want 60, 20 and 40", count)
		}
	})
}
