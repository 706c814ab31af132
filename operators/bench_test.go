package operators_test

import (
	"context"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

// counter is a source of 0, 1, … n-1 that costs almost nothing.
type counter struct{ next, n int }

func (c *counter) Read(_ context.Context, in *flow.Intake[int]) error {
	for in.Room() > 0 && c.next < c.n {
		in.AddValue(c.next)
		c.next++
	}
	if c.next == c.n {
		return io.EOF
	}
	return nil
}

func nothing[T any]() flow.Sink[T] {
	return flow.NewSink("nothing", func() flow.Writer[T] {
		return flow.WriterFunc[T](func(context.Context, []flow.Message[T]) error { return nil })
	})
}

// BenchmarkOperators measures each operator per message, including source, sink and acks.
func BenchmarkOperators(b *testing.B) {
	type ints = flow.Source[int]
	branches := func(outs ...ints) (parts []flow.Part) {
		for _, out := range outs {
			parts = append(parts, flow.To(out, nothing[int]()))
		}
		return parts
	}
	key := func(v int) int { return v }
	cases := []struct {
		name string
		of   func(in ints) []flow.Part
	}{
		{"None", func(in ints) []flow.Part { return branches(in) }},
		{"Map", func(in ints) []flow.Part {
			return branches(operators.Map(in, func(_ context.Context, v int) (int, error) { return v, nil }))
		}},
		{"FlatMap", func(in ints) []flow.Part {
			return branches(
				operators.FlatMap(in, func(_ context.Context, v int, emit func(int)) error { emit(v); return nil }),
			)
		}},
		{"Try", func(in ints) []flow.Part {
			ok, failed := operators.Try(in, func(_ context.Context, v int) (int, error) { return v, nil })
			return append(branches(ok), flow.To(failed, nothing[flow.Failure[int]]()))
		}},
		{"FanOut", func(in ints) []flow.Part { return branches(operators.FanOut(in, 2)...) }},
		{"Balance", func(in ints) []flow.Part { return branches(operators.Balance(in, 2)...) }},
		{"Case", func(in ints) []flow.Part {
			hit, rest := operators.Case(in, func(v int) (int, bool) { return v, v%2 == 0 })
			return branches(hit, rest)
		}},
		{"WireTap", func(in ints) []flow.Part {
			out, tap := operators.WireTap(in, nothing[int]())
			return append(branches(out), tap)
		}},
		{"MergePreferred", func(in ints) []flow.Part {
			ins := operators.Balance(in, 2, flow.ChunkSize(256))
			return branches(operators.MergePreferred(ins[0], ins[1:]))
		}},
		{"MergeSequence", func(in ints) []flow.Part {
			ins := operators.Balance(in, 2, flow.ChunkSize(256))
			return branches(operators.MergeSequence(ins, func(v int) uint64 { return uint64(v) }, 2000, time.Second,
				operators.SkipGap))
		}},
		{"Feedback", func(in ints) []flow.Part { return branches(countdown(in, 1000, 1, good)) }},
		{"PartitionInt", func(in ints) []flow.Part { return branches(operators.Partition(in, 2, key)...) }},
		{"PartitionNamed", func(in ints) []flow.Part {
			return branches(operators.Partition(in, 2, func(v int) time.Duration { return time.Duration(v) })...)
		}},
		{"Batch", func(in ints) []flow.Part {
			return []flow.Part{flow.To(operators.Batch(in, 100, time.Second), nothing[[]int]())}
		}},
		{"BatchUnbatch", func(in ints) []flow.Part {
			return branches(operators.Unbatch(operators.Batch(in, 100, time.Second)))
		}},
		{"Throttle", func(in ints) []flow.Part { return branches(operators.Throttle(in, 1e9, time.Second, 1e9)) }},
	}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			src := flow.NewSource("counter", func() flow.Reader[int] { return &counter{n: b.N} })
			g := flow.New("bench", c.of(src)...)
			b.ResetTimer()
			if err := g.Run(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// TestPartitionAllocates nothing for a key, whatever its kind.
func TestPartitionAllocates(t *testing.T) {
	const n = 20000
	count := func(of func(flow.Source[int]) []flow.Source[int]) float64 {
		return testing.AllocsPerRun(3, func() {
			var parts []flow.Part
			for _, out := range of(flow.NewSource("counter", func() flow.Reader[int] { return &counter{n: n} })) {
				parts = append(parts, flow.To(out, nothing[int]()))
			}
			if err := flow.New("allocs", parts...).Run(context.Background()); err != nil {
				t.Fatal(err)
			}
		})
	}
	names := make([]string, 100)
	for i := range names {
		names[i] = "key " + strconv.Itoa(i)
	}
	for kind, of := range map[string]func(flow.Source[int]) []flow.Source[int]{
		"int": func(in flow.Source[int]) []flow.Source[int] { return operators.Partition(in, 2, byThree) },
		"string": func(in flow.Source[int]) []flow.Source[int] {
			return operators.Partition(in, 2, func(v int) string { return names[v%100] })
		},
		"named": func(in flow.Source[int]) []flow.Source[int] {
			return operators.Partition(in, 2, func(v int) customer { return customer(names[v%100]) })
		},
		"struct": func(in flow.Source[int]) []flow.Source[int] {
			return operators.Partition(in, 2, func(v int) account { return account{"b", uint16(v), 0} })
		},
	} {
		if allocs := count(of); allocs > n/10 {
			t.Errorf("%s keys: %.0f allocations for %d messages", kind, allocs, n)
		}
	}
}
