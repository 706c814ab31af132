package flow

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestValidateReportsAllMistakesAtOnce(t *testing.T) {
	src := newScript(1).source()
	ports := copies(newScript(1).source(), 3)
	used := newScript(1).source()
	parts := []Part{
		To(Step[int, int](src, "nil", nil, Name("nil step")), (&bag[int]{}).sink(Name("same"))),
		To(mapTo(ports[0], double, Workers(-1), OnFault(nil)), (&bag[int]{}).sink(Name("same"))),
		To(used, (&bag[int]{}).sink()),
		To(used, (&bag[int]{}).sink()),
		To(batch(newScript(1, MaxInFlight(10)).source(), 11, time.Second), (&bag[[]int]{}).sink()),
		To(
			mapTo(newScript(1).source(), double, KeyedBy(func(string) int { return 0 }), Workers(2)),
			(&bag[int]{}).sink(Workers(2)),
		),
		To(Source[int]{}, Sink[int]{}),
		To(NewSource[int]("empty", nil, ChunkSize(0), MaxInFlight(-3)), (&bag[int]{}).sink()),
		To(Merge[int]("nothing", nil), (&bag[int]{}).sink()),
		To(Route(newScript(1).source(), "none", 0, func() RouteFunc[int, int] { return nil })[0], (&bag[int]{}).sink()),
		Branch{},
		Faults(nil), DrainTimeout(-1), Restarts(-1, 0, 0), AckTimeout(0), KillGrace(0),
	}
	err := New("", parts...).Validate()
	for _, want := range []string{
		"it has no name",
		`stage "nil step": newHandler: the function is nil; give a function`,
		`stage "same": two stages have this name`,
		`Workers: -1 workers; give 1 or more`,
		`OnFault: the policy is nil`,
		`stage "copies": no stage reads its output 1`,
		`stage "copies": no stage reads its output 2`,
		`its output is used 2 times, by "bag", "bag-2"`,
		`stage "batch": it waits for messages of 11 entries, but source "script-4" lets at most 10 into the graph; make it smaller, or give the source flow.MaxInFlight(11) or more`,
		`KeyedBy: the key function is a func(string) `,
		`a sink with several workers cannot keep the order`,
		"its input is the zero Source",
		"its sink is the zero Sink",
		"open: the function is nil",
		"ChunkSize: 0 messages",
		"MaxInFlight: -3 entries",
		"it has no inputs",
		"n: 0 outputs",
		"a branch is the zero Branch",
		"Faults: the policy is nil",
		"DrainTimeout: -1ns",
		"Restarts: -1 in 0s from 0s",
		"AckTimeout: 0s",
		"KillGrace: 0s",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %q in\n%v", want, err)
		}
	}
	var build *BuildError
	if !errors.As(err, &build) {
		t.Error("not a *BuildError")
	}
	if err := New("empty").Run(t.Context()); err == nil || !strings.Contains(err.Error(), "it has no branches") {
		t.Errorf("running an empty graph: %v", err)
	}
}

func TestValidateHolders(t *testing.T) {
	src := newScript(1, MaxInFlight(100)).source()
	ok := batch(src, 100, 0)
	if err := New("g", To(ok, (&bag[[]int]{}).sink())).Validate(); err != nil {
		t.Error(err)
	}
	shards := Route(newScript(1, MaxInFlight(100)).source(), "shards", 4, func() RouteFunc[int, int] { return nil })
	var parts []Part
	for _, s := range shards {
		parts = append(parts, To(batch(s, 30, 0), (&bag[[]int]{}).sink()))
	}
	if err := New("g", parts...).Validate(); err == nil || !strings.Contains(err.Error(), "deadlock: ") ||
		!strings.Contains(err.Error(), "flow.MaxInFlight(117)") {
		t.Errorf("four holders of 30 with 100 credits: %v", err)
	}
	joins := Via(
		batch(newScript(1, MaxInFlight(4)).source(), 2, 0),
		"again",
		func() Handler[[]int, int] { return nil },
		Traits{Holds: 3},
	)
	if err := New("g", To(joins, (&bag[int]{}).sink())).Validate(); err == nil ||
		!strings.Contains(err.Error(), "messages of 6 entries") {
		t.Errorf("three batches of two with 4 credits: %v", err)
	}
}

// billing is a graph with a stage of each kind.
func billing() *Graph {
	never := func() RouteFunc[int, int] { return nil }
	src := NewSource(
		"orders",
		func() Reader[int] { return nil },
		Traits{Redelivers: true},
		MaxInFlight(1000),
		MaxBytes(1<<20),
	)
	priced := mapTo(src, double, Name(`price "net"`), Workers(8))
	both := Route(priced, "copies", 2, never)
	shards := Route(both[0], "partition", 2, never)
	batches := make([]Source[[]int], 2)
	for i, s := range shards {
		batches[i] = batch(mapTo(s, double), 100, time.Second)
	}
	all := Merge("join", batches)
	kept, rest := Fork(both[1], "fork", func() ForkFunc[int, int, int] { return nil })
	keyed := mapTo(kept, double, Workers(2), KeyedBy(func(v int) int { return v }))
	return New("billing",
		To(all, NewSink("post", func() Writer[[]int] { return nil })),
		To(keyed, NewSink("invoices", func() Writer[int] { return nil }, Async())),
		To(rest, NewSink("log", func() Writer[int] { return nil }, Workers(3), Unordered())))
}

func TestDrawings(t *testing.T) {
	g := billing()
	if err := g.Validate(); err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{
		"billing.mmd": g.Mermaid(), "billing.dot": g.DOT(), "billing.json": string(text),
		"billing.txt": g.Describe().String(),
	} {
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s (-want +got):\n%s\nif this is what you want, run go test ./flow -update", name, d)
		}
	}
}

// FuzzValidate builds random graphs. Validate must not panic, and each graph that it accepts must
// run to its end.
func FuzzValidate(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add([]byte{3, 2, 6, 0, 0, 5, 5, 0, 2, 200, 1})
	f.Add([]byte{9, 9, 9, 4, 4, 2, 1, 0, 7, 7})
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) == 0 || len(program) > 40 {
			return
		}
		src := newScript(50, MaxInFlight(20))
		open := []Source[int]{src.source()}
		var parts []Part
		take := func(b byte) Source[int] {
			i := int(b) % len(open)
			s := open[i]
			if b < 250 { // else it stays, and is used twice
				open = append(open[:i], open[i+1:]...)
			}
			return s
		}
		for i := 0; i+1 < len(program) && len(open) > 0 && len(open) < 10; i += 2 {
			s := take(program[i+1])
			switch program[i] % 9 {
			case 0:
				open = append(open, mapTo(s, double))
			case 1:
				open = append(open, mapTo(s, double, Workers(int(program[i])%4)))
			case 2:
				open = append(open, copies(s, 2)...)
			case 3:
				if len(open) > 0 {
					open = append(open, Merge("merge", []Source[int]{s, take(program[i])}))
				} else {
					open = append(open, s)
				}
			case 4:
				open = append(open, unbatch(batch(s, 1+int(program[i+1])%25, 0)))
			case 5:
				parts = append(parts, To(s, (&bag[int]{}).sink()))
			case 6:
				a, b := Fork(s, "fork", func() ForkFunc[int, int, int] {
					return func(_ context.Context, m Message[int], a, b Emit[int]) error { a(m); b(m); return nil }
				})
				open = append(open, a, b)
			case 7:
				open = append(open, mapTo(s, double, Async()))
			case 8:
				open = append(open, mapTo(s, double, Workers(2), KeyedBy(func(v int) int { return v % 3 })))
			}
		}
		for _, s := range open {
			if program[0]%3 > 0 { // else they are left over
				parts = append(parts, To(s, (&bag[int]{}).sink()))
			}
		}
		g := New("g", parts...)
		if len(g.Mermaid()) == 0 || len(g.DOT()) == 0 {
			t.Error("no drawing")
		}
		if g.Validate() != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.Run(ctx); err != nil || ctx.Err() != nil {
			t.Fatalf("a valid graph did not end well: %v, %v\n%s", err, ctx.Err(), g.Mermaid())
		}
		src.wantAllAcked(t)
	})
}
