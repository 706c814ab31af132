package inspect

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/streamerson/streamerson-go/flow"
)

func TestPauseAfter(t *testing.T) {
	for _, c := range []struct {
		work       time.Duration
		processors int
		want       time.Duration
	}{
		{0, 2, refreshEvery},
		{9 * time.Millisecond, 1, refreshEvery},
		{40 * time.Millisecond, 1, 4 * time.Second},
		{40 * time.Millisecond, 2, 2 * time.Second},
		{time.Second, 2, maxPause},
	} {
		if got := pauseAfter(c.work, c.processors); got != c.want {
			t.Errorf("after %v on %d processors: %v, want %v", c.work, c.processors, got, c.want)
		}
	}
}

// A board that costs much is refreshed less often. Actions and opened letters do not wait
// for that, and after an action the pages are up to date.
func TestBoardPacesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := board{processes: make(map[string]*process)}
		n := 0
		refresh := func(_ context.Context, b *board) { n, b.work = n+1, time.Hour }
		look := func(after time.Duration, want int, what string) state {
			t.Helper()
			time.Sleep(after)
			s := b.see(t.Context(), "", refresh)
			if n != want {
				t.Errorf("%s: %d refreshes, want %d", what, n, want)
			}
			return s
		}
		look(0, 1, "at first")
		if s := look(maxPause-time.Second, 1, "in the pause"); s.Old != (maxPause - time.Second).Seconds() {
			t.Errorf("the figures are %v s old", s.Old)
		}
		if s := look(time.Second, 2, "after the pause"); s.Old != 0 {
			t.Errorf("new figures are %v s old", s.Old)
		}
		time.Sleep(time.Second)
		b.know(t.Context(), refresh)
		b.know(t.Context(), refresh)
		look(0, 3, "a viewer opened something")
		b.hurry()
		look(time.Second, 4, "after an action")
		look(hurryFor, 4, "long after it")
	})
}

// Processes that run the same graph share its blueprint, which is decoded once. The numbers are read
// from each report.
func TestUnpackerSharesBlueprints(t *testing.T) {
	var u unpacker
	read := func(process string, n uint64, stages ...flow.StageDescription) *GraphReport {
		t.Helper()
		packed, err := pack(&Report{Process: process, Graphs: []GraphReport{{
			Blueprint: flow.Description{Graph: "shop", Stages: stages},
			Snapshot:  flow.Snapshot{Graph: "shop", Sources: []flow.SourceSnapshot{{Read: n}}},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := u.unpack(packed)
		if err != nil || r.Process != process || len(r.Graphs) != 1 || r.Graphs[0].Snapshot.Sources[0].Read != n {
			t.Fatalf("%+v, %v", r, err)
		}
		return &r.Graphs[0]
	}
	one := read("a", 1, flow.StageDescription{Name: "in"})
	same := read("b", 2, flow.StageDescription{Name: "in"})
	other := read("c", 3, flow.StageDescription{Name: "in"}, flow.StageDescription{Name: "out"})
	if &one.Blueprint.Stages[0] != &same.Blueprint.Stages[0] {
		t.Error("the same blueprint was decoded twice")
	}
	if len(other.Blueprint.Stages) != 2 || len(u.blueprints) != 2 {
		t.Errorf("another blueprint: %+v, and %d are known", other.Blueprint, len(u.blueprints))
	}
	if _, err := u.unpack([]byte("no gzip")); err == nil {
		t.Error("no gzip was read")
	}
	again := read("a", 4, flow.StageDescription{Name: "in"})
	if &again.Blueprint.Stages[0] != &one.Blueprint.Stages[0] {
		t.Error("it has forgotten after a bad report")
	}
}

// Numbers, durations, kinds and times arrive as they were sent.
func TestUnpackerReadsWhatIsSent(t *testing.T) {
	busy, at := 3*time.Second, time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	sent := &Report{
		App: "shop", Process: "p", Host: "h", PID: 7, Started: at, At: at.Add(time.Hour), Obeys: true, Omitted: 2,
		Parts: []PartReport{{
			Kind: "service", Name: "s", Took: []uint64{1, 2}, Figures: []Figure{{Name: "f", Value: -1, Bad: true}},
		}},
		Graphs: []GraphReport{{
			Blueprint: flow.Description{
				Graph: "g", Stages: []flow.StageDescription{{Name: "in", HoldsFor: time.Second}},
			},
			Snapshot: flow.Snapshot{
				Graph: "g", State: flow.Draining, Uptime: time.Minute, Failure: "<\xff>",
				Sources:    []flow.SourceSnapshot{{Name: "in", Lag: -1, Oldest: time.Second}},
				Bottleneck: &flow.Bottleneck{Stage: "in", Share: 0.5, Stuck: time.Second},
				Draining:   []flow.Stuck{{Stage: "in"}},
				Stages: []flow.StageSnapshot{{
					Name: "in", Busy: &busy, Blocked: time.Second, Counts: map[string]uint64{"reconnects": 1},
					FaultKinds: map[flow.FaultKind]uint64{flow.FaultPanic: 1 << 63},
				}},
			},
			Recent: []flow.Event{{Time: at, Kind: flow.EventFault, Error: "no", After: time.Millisecond}},
		}},
	}
	packed, err := pack(sent)
	if err != nil {
		t.Fatal(err)
	}
	got, err := new(unpacker).unpack(packed)
	if err != nil {
		t.Fatal(err)
	}
	sent.Graphs[0].Snapshot.Failure = "<\uFFFD>" // JSON is text
	if d := cmp.Diff(sent, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("(-sent +got):\n%s", d)
	}
}
