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
	src := NewSource("count", func() Reader[int] { return &counter{max: b.N} }, Traits{Inline: true})
	make := func() func(context.Context, int) (int, error) { return inc }
	maps := Transform(Transform(Transform(src, "a", make), "b", make), "c", make)
	g := New("g", To(maps, discard[int]()))
	b.ResetTimer()
	if err := g.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkWorkers measures the price of Workers: the function is nearly free, or takes about a
// microsecond.
func BenchmarkWorkers(b *testing.B) {
	free := func(_ context.Context, v int) (int, error) { return v + 1, nil }
	busy := func(_ context.Context, v int) (int, error) {
		x := uint64(v)
		for range 500 {
			x = x*6364136223846793005 + 1442695040888963407
		}
		return int(x >> 1), nil
	}
	for name, opts := range map[string][]StageOption{
		"ordered":   {Workers(4)},
		"unordered": {Workers(4), Unordered()},
		"keyed":     {Workers(4), KeyedBy(func(v int) int { return v % 64 })},
	} {
		for work, f := range map[string]func(context.Context, int) (int, error){"free": free, "busy": busy} {
			b.Run(name+"/"+work, func(b *testing.B) {
				b.ReportAllocs()
				src := NewSource("count", func() Reader[int] { return &counter{max: b.N} }, Traits{Inline: true})
				g := New("g", To(mapTo(src, f, opts...), discard[int]()))
				b.ResetTimer()
				if err := g.Run(b.Context()); err != nil {
					b.Fatal(err)
				}
			})
		}
		if name == "ordered" {
			continue
		}
		b.Run(name+"/sink", func(b *testing.B) {
			b.ReportAllocs()
			src := NewSource("count", func() Reader[int] { return &counter{max: b.N} }, Traits{Inline: true})
			g := New("g", To(src, discard[int](), opts...))
			b.ResetTimer()
			if err := g.Run(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
