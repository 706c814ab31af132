package flow

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// twice is a wrap that calls again once after an error.
func twice(ctx context.Context, call func(context.Context) error) error {
	if call(ctx) == nil {
		return nil
	}
	return call(ctx)
}

// both is a wrap that makes two calls at once, and does not wait for the second to end.
func both(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, 2)
	for range 2 {
		go func() { errs <- call(ctx) }()
	}
	if err := <-errs; err == nil {
		return nil
	}
	return <-errs
}

// everyOther fails in each first call for a value.
func everyOther() func(context.Context, int) (int, error) {
	seen := make(map[int]bool)
	return func(_ context.Context, v int) (int, error) {
		if !seen[v] {
			seen[v] = true
			return v, errBoom
		}
		return v, nil
	}
}

// stages are the kinds of stages with one input and one output.
var stages = map[string]func(Source[int], func(context.Context, int) (int, error), ...StageOption) Source[int]{
	"Transform": mapTo[int, int], "Step": stepTo[int, int], "Via": viaTo[int, int],
}

func TestAround(t *testing.T) {
	for name, stage := range stages {
		t.Run(name+" takes back what a failed call emitted", func(t *testing.T) {
			src, out := newScript(300), &bag[int]{}
			g := New("g", To(stage(src.source(), everyOther(), Around(twice), OnFault(Stop)), out.sink()))
			if err := g.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := out.values(); !slices.Equal(got, upTo(300)) {
				t.Error(got)
			}
			src.wantAllAcked(t)
		})
		t.Run(name+" limits each call", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				hang := func(ctx context.Context, v int) (int, error) {
					if calls++; calls == 1 {
						<-ctx.Done()
						return v, context.Cause(ctx)
					}
					return v, Sleep(ctx, 900*time.Millisecond)
				}
				src, out := newScript(1), &bag[int]{}
				g := New(
					"g",
					To(stage(src.source(), hang, Around(twice), Timeout(time.Second), OnFault(Stop)), out.sink()),
				)
				if err := g.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				src.wantAllAcked(t)
			})
		})
		t.Run(name+" races with one result", func(t *testing.T) {
			src, out := newScript(300), &bag[int]{}
			g := New("g", To(stage(src.source(), double, Race(both), Traits{Stateless: true}), out.sink()))
			if err := g.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := len(out.values()); n != 300 {
				t.Errorf("%d results", n)
			}
			src.wantAllAcked(t)
		})
		t.Run(name+" waits for the losers of a race at its end", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				calls, left := 0, 0
				f := func(ctx context.Context, v int) (int, error) {
					mu.Lock()
					calls++
					loses := calls == 1
					mu.Unlock()
					if loses {
						_ = Sleep(ctx, time.Hour) // its context ends with the race
						time.Sleep(time.Second)
						mu.Lock()
						left++
						mu.Unlock()
						return v, errBoom
					}
					return v, Sleep(ctx, time.Millisecond)
				}
				src, out := newScript(1), &bag[int]{}
				g := New("g", To(stage(src.source(), f, Race(both), Traits{Stateless: true}), out.sink()))
				if err := g.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if left != 1 {
					t.Error("a call runs on after its graph")
				}
				src.wantAllAcked(t)
			})
		})
	}
	t.Run("the first option is the outermost", func(t *testing.T) {
		var order []string
		note := func(name string) StageOption {
			return Around(func(ctx context.Context, call func(context.Context) error) error {
				order = append(order, name)
				return call(ctx)
			})
		}
		src, out := newScript(1), &bag[int]{}
		if err := New("g", To(src.source(), out.sink(note("a"), note("b")))).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if strings.Join(order, "") != "ab" {
			t.Error(order)
		}
		src.wantAllAcked(t)
	})
	t.Run("nil without a call that succeeded stops the graph", func(t *testing.T) {
		forget := func(ctx context.Context, call func(context.Context) error) error {
			_ = call(ctx)
			return nil
		}
		for name, stage := range stages {
			src, out := newScript(1), &bag[int]{}
			fail := func(context.Context, int) (int, error) { return 0, errBoom }
			if err := New("g", To(stage(src.source(), fail, Around(forget)), out.sink())).Run(t.Context()); err == nil {
				t.Error(name)
			}
		}
	})
	t.Run("a call that comes too late is refused", func(t *testing.T) {
		var late func(context.Context) error
		keep := func(ctx context.Context, call func(context.Context) error) error {
			late = call
			return call(ctx)
		}
		src, out := newScript(1), &bag[int]{}
		if err := New("g", To(mapTo(src.source(), double, Around(keep)), out.sink())).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := late(t.Context()); !errors.Is(err, errTooLate) {
			t.Error(err)
		}
	})
	t.Run("a panic of the wrap is a fault", func(t *testing.T) {
		src, out := newScript(1), &bag[int]{}
		bad := func(context.Context, func(context.Context) error) error { panic("boom") }
		if err := New("g", To(src.source(), out.sink(Around(bad), OnFault(DeadLetter)))).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		src.wantOutcomes(t, func(int) Outcome { return Dead })
	})
}

// TestAroundMistakes checks that Validate reports options that cannot work.
func TestAroundMistakes(t *testing.T) {
	out := (&bag[int]{}).sink()
	for want, branch := range map[string]Branch{
		"Around: the function is nil": To(mapTo(newScript(1).source(), double, Around(nil)), out),
		"Race: the function is nil":   To(mapTo(newScript(1).source(), double, Race(nil)), out),
		"no calls that a policy":      To(newScript(1, Around(twice)).source(), out),
		"cannot run twice at once":    To(mapTo(newScript(1).source(), double, Race(both)), out),
		"twice at once":               To(newScript(1).source(), (&bag[int]{}).sink(Race(both))),
		"calls that a policy can": Task("t", func(context.Context, <-chan struct{}) error {
			return nil
		}, Around(twice)),
	} {
		if err := New("g", branch).Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// TestSurrounded checks the calls of operators that make them themselves.
func TestSurrounded(t *testing.T) {
	f := everyOther()
	call := func(ctx context.Context) (int, error) { return f(ctx, 7) }
	if v, err := Surrounded(t.Context(), []StageOption{Around(twice)}, call); v != 7 || err != nil {
		t.Error(v, err)
	}
	f = everyOther()
	if _, err := Surrounded(t.Context(), nil, call); !errors.Is(err, errBoom) {
		t.Error(err)
	}
	if v, err := Surrounded(t.Context(), []StageOption{Race(both)},
		func(context.Context) (int, error) { return 8, nil }); v != 8 || err != nil {
		t.Error(v, err)
	}
}
