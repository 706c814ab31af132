package flow

import (
	"context"
	"io"
	"testing"
)

// counter is a source without metadata: the cheapest there is.
type counter struct{ next, max int }

func (c *counter) Read(_ context.Context, in *Intake[int]) error {
	for in.Room() > 0 {
		if c.next == c.max {
			return io.EOF
		}
		in.AddValue(c.next)
		c.next++
	}
	return nil
}

func discard[T any]() Sink[T] {
	return NewSink("discard", func() Writer[T] {
		return WriterFunc[T](func(context.Context, []Message[T]) error { return nil })
	})
}

func BenchmarkThreeMaps(b *testing.B) {
	b.ReportAllocs()
	inc := func(_ context.Context, v int) (int, error) { return v + 1, nil }
	src := NewSource("count", func() Reader[int] { return &counter{max: b.N} }, Inline())
	make := func() func(context.Context, int) (int, error) { return inc }
	maps := Transform(Transform(Transform(src, "a", make), "b", make), "c", make)
	g := New("g", To(maps, discard[int]()))
	b.ResetTimer()
	if err := g.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkWorkers(b *testing.B) {
	b.ReportAllocs()
	inc := func(_ context.Context, v int) (int, error) { return v + 1, nil }
	src := NewSource("count", func() Reader[int] { return &counter{max: b.N} }, Inline())
	g := New("g", To(mapTo(src, inc, Workers(4)), discard[int]()))
	b.ResetTimer()
	if err := g.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
}
