package flow

import (
	"context"
	"errors"
	"io"
	"testing"
)

type ints struct{ n, max int }

func (s *ints) Read(_ context.Context, in *Intake[int]) error {
	for in.Room() > 0 {
		if s.n == s.max {
			return io.EOF
		}
		in.AddValue(s.n)
		s.n++
	}
	return nil
}

func count(max int, opts ...StageOption) Source[int] {
	return NewSource("count", func() Reader[int] { return &ints{max: max} }, opts...)
}

func each[T any](f func(T) error) Sink[T] {
	return NewSink("each", func() Writer[T] {
		return WriterFunc[T](func(_ context.Context, chunk []Message[T]) error {
			for _, m := range chunk {
				if err := f(m.Value); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func mapTo[T, U any](in Source[T], f func(context.Context, T) (U, error), opts ...StageOption) Source[U] {
	return Step(in, "map", func() StepFunc[T, U] {
		return func(ctx context.Context, m Message[T]) (Message[U], bool, error) {
			v, err := f(ctx, m.Value)
			return Derive(m, v), true, err
		}
	}, opts...)
}

func TestRun(t *testing.T) {
	for _, opts := range [][]StageOption{nil, {Async()}, {Workers(4)}, {Workers(4), Unordered()},
		{Workers(4), KeyedBy(func(v int) int { return v % 7 })}} {
		sum, n, last, sorted := 0, 0, -1, true
		src := mapTo(count(10000), func(_ context.Context, v int) (int, error) { return 2 * v, nil }, opts...)
		g := New("g", To(src, each(func(v int) error {
			sum += v
			n++
			sorted = sorted && v > last
			last = v
			return nil
		})))
		if err := g.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := 10000 * 9999; sum != want || n != 10000 {
			t.Fatalf("sum %d of %d, want %d", sum, n, want)
		}
		t.Log(sorted)
	}
}

func TestFail(t *testing.T) {
	boom := errors.New("boom")
	src := mapTo(count(10000), func(_ context.Context, v int) (int, error) {
		if v == 777 {
			return 0, boom
		}
		return v, nil
	}, OnFault(Stop))
	err := New("g", To(src, each(func(int) error { return nil }))).Run(t.Context())
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	t.Log(err)
}

func BenchmarkThreeMaps(b *testing.B) {
	b.ReportAllocs()
	inc := func(_ context.Context, v int) (int, error) { return v + 1, nil }
	src := mapTo(mapTo(mapTo(count(b.N), inc), inc), inc)
	g := New("g", To(src, each(func(int) error { return nil })))
	b.ResetTimer()
	if err := g.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
}
