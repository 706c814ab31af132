package flow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tape is a Tracer that records spans. The name of a span is its kind, its stage, and the ID of its
// entry or the names of its links; a child has the name of its parent before it.
type tape struct {
	stages []string

	mu    sync.Mutex
	spans []*taped
}

type taped struct {
	tape   *tape
	name   string
	events []string
	ends   int
}

type tapeKey struct{}

func (t *tape) Stage(_, stage string) bool { return slices.Contains(t.stages, stage) }

func (t *tape) Begin(ctx context.Context, w Work) Span {
	kinds := map[WorkKind]string{
		WorkEntry: "entry", WorkJoin: "join", WorkStage: "stage", WorkWrite: "write", WorkCall: "call",
	}
	s := &taped{tape: t, name: kinds[w.Kind] + " " + w.Stage}
	if w.Meta.ID != "" {
		s.name += " " + w.Meta.ID
	}
	for _, l := range w.Links {
		s.name += " (" + l.(*taped).name + ")"
	}
	if of, ok := ctx.Value(tapeKey{}).(*taped); ok && w.Kind != WorkEntry && w.Kind != WorkJoin {
		s.name = of.name + " > " + s.name
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spans = append(t.spans, s)
	return s
}

// String returns the spans with their events, sorted by name.
func (t *tape) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for _, s := range t.spans {
		if s.ends != 1 {
			s.events = append(s.events, fmt.Sprintf("ended %d times", s.ends))
		}
		lines = append(lines, s.name+": "+strings.Join(s.events, ", "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (s *taped) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, tapeKey{}, s)
}
func (s *taped) Headers() Headers { return Headers{{HeaderTraceparent, s.name}} }
func (s *taped) Status(code int)  { s.event(fmt.Sprint("status ", code)) }
func (s *taped) Error(err error)  { s.event("error: " + err.Error()) }
func (s *taped) Fault(f *Fault, d Decision) {
	s.event(fmt.Sprintf("%v at %s: %s", f.Err, f.Stage, d.Do))
}

func (s *taped) End(o Outcome, err error) {
	text := o.String()
	if err != nil {
		text += ": " + err.Error()
	}
	s.event(text)
	s.tape.mu.Lock()
	defer s.tape.mu.Unlock()
	s.ends++
}

func (s *taped) event(text string) {
	s.tape.mu.Lock()
	defer s.tape.mu.Unlock()
	s.events = append(s.events, text)
}

// spanName returns the name of the span of a context.
func spanName(ctx context.Context) string {
	if s, ok := ctx.Value(tapeKey{}).(*taped); ok {
		return s.name
	}
	return "none"
}

// pairs is a handler that joins two messages at a time.
func pairs() Handler[int, []int] {
	var held []Held[int]
	return HandlerFunc[int, []int](func(ctx context.Context, m Message[int], emit Emit[[]int]) error {
		if held = append(held, Hold(ctx, m)); len(held) == 2 {
			emit(Join(ctx, []int{held[0].Value, held[1].Value}, held))
			held = nil
		}
		return nil
	})
}

func TestTrace(t *testing.T) {
	check := func(t *testing.T, tp *tape, want string) {
		t.Helper()
		if diff := cmp.Diff(strings.TrimSpace(want), tp.String()); diff != "" {
			t.Errorf("spans (-want +got):\n%s", diff)
		}
	}
	t.Run("entries", func(t *testing.T) {
		tp := &tape{}
		tries := 0
		one := func(ctx context.Context, v int) (int, error) {
			if got, want := spanName(ctx), fmt.Sprint("entry script ", v); got != want {
				t.Errorf("the handler of %d has span %q, want %q", v, got, want)
			}
			switch {
			case v == 1 && tries == 0:
				tries++
				return v, errBoom
			case v == 0:
				NoteError(ctx, errors.New("answered"))
			case v == 2:
				return v, Reject(errors.New("bad"))
			case v == 3:
				return v, Skip
			}
			return v, nil
		}
		seen := Via(mapTo(newScript(4).source(), one), "via", func() Handler[int, int] {
			return HandlerFunc[int, int](func(ctx context.Context, m Message[int], emit Emit[int]) error {
				if got, want := spanName(ctx), "entry script "+m.ID(); got != want {
					t.Errorf("Via has span %q, want %q", got, want)
				}
				emit(m)
				emit(m)
				return nil
			})
		})
		out := (&bag[int]{}).sink()
		quiet := Log(slog.New(slog.DiscardHandler))
		if err := New("g", To(seen, out), Trace(tp), quiet).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(t, tp, `
entry script 0: error: answered, acked
entry script 1: boom at map: retry, acked
entry script 2: rejected: bad at map: dead letter, dead: rejected: bad
entry script 3: dropped: skip`)
	})
	t.Run("joins, stages and writes", func(t *testing.T) {
		tp := &tape{stages: []string{"sum", "out"}}
		joined := Via(newScript(4).source(), "pairs", pairs)
		sums := stepTo(joined, func(ctx context.Context, v []int) (int, error) {
			if v[0] == 2 {
				return 0, Reject(errBoom)
			}
			return v[0] + v[1], nil
		}, Name("sum"))
		out := NewSink("out", func() Writer[int] {
			return WriterFunc[int](func(ctx context.Context, chunk []Message[int]) error {
				for _, m := range chunk {
					BeginWrite(ctx, m, "there", false).End(Acked, nil)
				}
				return nil
			})
		})
		if err := New("g", To(sums, out)).Run(WithTracer(t.Context(), tp)); err != nil {
			t.Fatal(err)
		}
		first := "join pairs (entry script 0) (entry script 1)"
		second := "join pairs (entry script 2) (entry script 3)"
		check(t, tp, `
entry script 0: acked
entry script 1: acked
entry script 2: dead: rejected: boom
entry script 3: dead: rejected: boom
`+first+` > stage out: acked
`+first+` > stage sum: acked
`+first+` > write out 0: acked
`+first+`: acked
`+second+` > stage sum: dead: rejected: boom
`+second+`: rejected: boom at sum: dead letter, dead: rejected: boom`)
	})
	t.Run("members and watched messages", func(t *testing.T) {
		tp := &tape{}
		w := NewWatcher(func(context.Context, []End) error { return nil })
		watched := Step(newScript(2).source(), "watch", func() StepFunc[int, int] {
			return func(ctx context.Context, m Message[int]) (Message[int], bool, error) {
				m, _ = Watch(ctx, m, w, nil)
				return m, true, nil
			}
		})
		split := Via(Via(watched, "pairs", pairs), "split", func() Handler[[]int, int] {
			return HandlerFunc[[]int, int](func(_ context.Context, m Message[[]int], emit Emit[int]) error {
				for i, v := range m.Value {
					emit(Member(m, i, v))
				}
				return nil
			})
		})
		check := func(ctx context.Context, m Message[int]) error {
			if got, want := spanName(ctx), fmt.Sprint("entry script ", m.Value); got != want {
				t.Errorf("member %d has span %q, want %q", m.Value, got, want)
			}
			return nil
		}
		out := NewSink("out", func() Writer[int] {
			return WriterFunc[int](func(ctx context.Context, chunk []Message[int]) error {
				for _, m := range chunk {
					_ = check(ContextOf(ctx, m), m)
				}
				return nil
			})
		})
		if err := New("g", To(split, out), Trace(tp)).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("untraced", func(t *testing.T) {
		tp := &tape{stages: []string{"map"}}
		src := newScript(3, Traits{Untraced: true}).source()
		one := func(ctx context.Context, v int) (int, error) {
			if TracerOf(ctx) != tp {
				t.Error("the handler's context lacks the tracer")
			}
			return v, nil
		}
		if err := New("g", To(mapTo(src, one), (&bag[int]{}).sink()), Trace(tp)).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(t, tp, "")
		if TracerOf(WithTracer(WithTracer(t.Context(), tp), nil)) != nil {
			t.Error("nil does not end tracing")
		}
	})
}

// Every span ends once, whatever happens to the graph.
func TestTraceEndsSpans(t *testing.T) {
	for _, opts := range [][]StageOption{
		nil,
		{Workers(3)},
		{Workers(3), Unordered()},
		{Workers(3), KeyedBy(func(v int) int { return v % 7 })},
	} {
		tp := &tape{stages: []string{"map"}}
		src := newScript(1000)
		src.perRead = 10
		some := func(ctx context.Context, v int) (int, error) {
			switch {
			case v == 700:
				return 0, Permanent(errBoom) // stops the graph
			case v%10 == 3:
				return 0, RetryAfter(0, errBoom)
			case v%10 == 7:
				panic("seven")
			}
			return v, nil
		}
		joined := Via(mapTo(src.source(), some, opts...), "pairs", pairs)
		quiet := Log(slog.New(slog.DiscardHandler))
		err := New("g", To(joined, (&bag[[]int]{}).sink()), Trace(tp), Faults(Nack), quiet).Run(t.Context())
		if !errors.Is(err, errBoom) {
			t.Error(err)
		}
		for line := range strings.Lines(tp.String()) {
			if strings.Contains(line, " times") {
				t.Error(line)
			}
		}
	}
}

// Without a tracer nothing is allocated: see also TestNoAllocationPerMessage.
func TestNoTracerNoAllocation(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	out := NewSink("out", func() Writer[int] {
		return WriterFunc[int](func(ctx context.Context, chunk []Message[int]) error {
			m := chunk[0]
			if n := testing.AllocsPerRun(100, func() {
				if BeginWrite(ctx, m, "there", false) != nil || TracerOf(ctx) != nil || ContextOf(ctx, m) != ctx {
					t.Error("traced")
				}
				NoteError(ctx, errBoom)
			}); n != 0 {
				t.Errorf("%v allocations", n)
			}
			return nil
		})
	})
	if err := New("g", To(newScript(1).source(), out)).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}
