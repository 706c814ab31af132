package inspect

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// shop is a report of a graph: in → check → price (2 workers) → out. Each stage has its own goroutine.
func shop(read uint64, busy time.Duration, fill int) GraphReport {
	return GraphReport{
		Blueprint: flow.Description{
			Graph: "shop",
			Stages: []flow.StageDescription{
				{Name: "in", Kind: "source"}, {Name: "check", Kind: "stage"},
				{Name: "price", Kind: "stage", Workers: 2}, {Name: "out", Kind: "sink"},
			},
			Links: []flow.LinkDescription{
				{
					From: "in",
					To:   "check",
					Edge: true,
				}, {From: "check", To: "price", Edge: true}, {From: "price", To: "out"},
			},
		},
		Snapshot: flow.Snapshot{
			Graph: "shop", State: flow.Active, Uptime: busy,
			Sources: []flow.SourceSnapshot{
				{Name: "in", Read: read, Settled: read, MaxInFlight: 100, Lag: 50, Pending: 7},
			},
			Stages: []flow.StageSnapshot{
				{Name: "in", Out: read}, {Name: "check", In: read, Busy: new(time.Duration)},
				{Name: "price", In: read, Busy: &busy}, {Name: "out", In: read, Busy: new(time.Duration)},
			},
			Edges: []flow.EdgeSnapshot{
				{From: "in", To: "check", Messages: read, Size: 4},
				{From: "check", To: "price", Messages: read, Fill: fill, Size: 4},
			},
		},
	}
}

// over returns the view of graphs of which each has changed from its first to its second report
// within two seconds.
func over(pairs ...[2]GraphReport) *graphView {
	var samples []sample
	for i, p := range pairs {
		samples = append(
			samples,
			sample{process: fmt.Sprintf("p%d", i), was: &p[0], now: &p[1], span: 2 * time.Second},
		)
	}
	return viewOf("shop", samples, time.Now())
}

func TestViewAddsUpProcesses(t *testing.T) {
	v := over(
		[2]GraphReport{shop(100, time.Second, 0), shop(300, 3*time.Second, 4)},
		[2]GraphReport{shop(0, time.Second, 0), shop(100, 2*time.Second, 2)},
	)
	price := v.stage("price")
	if v.Rate != 150 || price.InRate != 150 || price.Total != 400 || len(v.Processes) != 2 {
		t.Errorf("rate %v, of price %v, total %d, %d processes", v.Rate, price.InRate, price.Total, len(v.Processes))
	}
	if got := price.busy(); got != (2.0/2/2+1.0/2/2)/2 {
		t.Errorf("price is busy %v", got)
	}
	link := v.link("check", "price")
	if link.Rate != 150 || link.Fill != 6 || link.Size != 8 || link.Heat != 0.75 {
		t.Errorf("link: %+v", link)
	}
	s := v.Sources[0]
	if s.Lag != 50 || s.Pending != 7 || s.MaxInFlight != 200 || s.Rate != 150 {
		t.Errorf("source: %+v", s)
	}
	var lanes []int
	for _, s := range v.Stages {
		lanes = append(lanes, s.Lane)
	}
	if d := cmp.Diff([]int{0, 1, 2, 3}, lanes); d != "" { // behind workers is another goroutine
		t.Errorf("lanes (-want +got):\n%s", d)
	}
}

func TestHeadlines(t *testing.T) {
	change := func(f func(*GraphReport)) [2]GraphReport {
		now := shop(300, 5*time.Second, 4)
		f(&now)
		return [2]GraphReport{shop(100, time.Second, 0), now}
	}
	for name, c := range map[string]struct {
		pair  [2]GraphReport
		level level
		text  string
	}{
		"full":     {change(func(*GraphReport) {}), warn, "price (2 workers) is busy 100 % of the time; its input is full."},
		"not full": {change(func(g *GraphReport) { g.Snapshot.Edges[1].Fill = 0 }), notice, "price (2 workers) is busy 100 % of the time."},
		"half": {
			[2]GraphReport{shop(100, time.Second, 0), shop(300, 3400*time.Millisecond, 0)},
			fine, "price (2 workers) is busy 60 % of the time. It is the busiest stage.",
		},
		"quick":  {[2]GraphReport{shop(100, time.Second, 0), shop(300, 1100*time.Millisecond, 0)}, fine, "No stage limits it."},
		"idle":   {[2]GraphReport{shop(100, time.Second, 0), shop(100, time.Second, 0)}, fine, "Idle: no messages"},
		"paused": {change(func(g *GraphReport) { *g = shop(100, time.Second, 0); g.Snapshot.State = flow.Paused }), notice, "Paused: its sources do not read."},
		"failed": {change(func(g *GraphReport) { g.Snapshot.Failure = "boom\nat once" }), bad, "It stopped: boom"},
		"stuck": {change(func(g *GraphReport) {
			g.Snapshot.Bottleneck = &flow.Bottleneck{
				Stage: "price", Reason: `a call of "price" has not returned for 1m`, Stuck: time.Minute,
			}
		}), bad, `Stuck: a call of "price" has not returned for 1m.`},
		"faults": {change(func(g *GraphReport) { g.Snapshot.Stages[2].Faults = 20 }), warn, "Messages fail at price: 10 a second."},
		"all fail": {change(func(g *GraphReport) {
			g.Snapshot.Stages[2].In, g.Snapshot.Stages[2].Faults = 300, 195
		}), bad, "Every message fails at price."},
		"some pass": {change(func(g *GraphReport) {
			g.Snapshot.Stages[2].In, g.Snapshot.Stages[2].Faults, g.Snapshot.Stages[2].Out = 300, 200, 1
		}), warn, "Messages fail at price: 100 a second."},
		"dead": {change(func(g *GraphReport) { g.Snapshot.Sources[0].Dead = 3 }), warn, "Entries of in go to the dead letters: 1.5 a second."},
		"falls off": {
			change(func(g *GraphReport) { g.Snapshot.Sources[0].Lag = 5050 }),
			warn, "in falls behind: 5,050 entries are unread, and 2,500 more each second.",
		},
		"restart": {change(func(g *GraphReport) {
			g.Recent = []flow.Event{{Kind: flow.EventRestart, Stage: "out", Time: time.Now()}}
		}), warn, "out failed and was restarted 1 time in the last minute."},
	} {
		v := over(c.pair)
		if got := v.Findings[0]; got.Level != c.level || !strings.HasPrefix(got.Text, c.text) {
			t.Errorf("%s: %+v, want %d %s", name, v.Findings, c.level, c.text)
		}
	}
	gone := shop(300, 5*time.Second, 4)
	v := viewOf("shop", []sample{{process: "p", now: &gone, gone: true}}, time.Now())
	if f := v.Findings[0]; f.Level != warn || v.State != "" || v.Rate != 0 {
		t.Errorf("a graph that is gone: %+v, state %q", f, v.State)
	}
}

// Another run of the graph counts from zero.
func TestRatesOfAnotherRun(t *testing.T) {
	old := &Report{Graphs: []GraphReport{shop(500, time.Minute, 0)}}
	again := shop(3, time.Second, 0)
	if was := sameRun(old, &again); was != nil {
		t.Errorf("compared to another run: %+v", was.Snapshot)
	}
}

func TestReportIsBounded(t *testing.T) {
	r := &Report{App: "shop", Process: "p", Parts: []PartReport{{Kind: "hub", Name: "h", Figures: []Figure{}}}}
	for i := range 200 {
		g := shop(1, time.Second, 0)
		g.Blueprint.Graph = fmt.Sprintf("graph %d", i)
		for range 16 {
			g.Recent = append(g.Recent, flow.Event{Kind: flow.EventFault, Error: strings.Repeat("<", 1024)})
		}
		r.Graphs = append(r.Graphs, g)
	}
	text, err := r.encode()
	if err != nil || len(text) > maxReport {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	packed, err := pack(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := new(unpacker).unpack(packed)
	if err != nil || len(got.Graphs) != 200 || len(got.Graphs[0].Blueprint.Stages) != 4 {
		t.Fatalf("%v, %d graphs", err, len(got.Graphs))
	}
	if d := cmp.Diff(r, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("after a round trip (-want +got):\n%s", d)
	}
	for i := range r.Graphs { // stages with long names, which are left out as the last resort
		for j := range r.Graphs[i].Blueprint.Stages {
			r.Graphs[i].Blueprint.Stages[j].Name = strings.Repeat("n", 40<<10)
		}
		r.Graphs[i].Snapshot.Failure = strings.Repeat("f", 40<<10)
	}
	if text, err := r.encode(); err != nil || len(text) > maxReport || r.Omitted == 0 {
		t.Errorf("%d bytes, %d omitted, %v", len(text), r.Omitted, err)
	}
}

func TestUnpackRefuses(t *testing.T) {
	bomb, err := pack(&Report{App: strings.Repeat("x", 100)})
	if err != nil {
		t.Fatal(err)
	}
	for name, packed := range map[string][]byte{"no gzip": []byte("{}"), "cut": bomb[:len(bomb)/2], "empty": nil} {
		if r, err := new(unpacker).unpack(packed); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestStateSurvivesJSON(t *testing.T) {
	var s flow.Snapshot
	text, err := json.Marshal(flow.Snapshot{State: flow.Draining})
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil || s.State != flow.Draining {
		t.Errorf("%v, %v", s.State, err)
	}
	if err := json.Unmarshal([]byte(`{"state":"asleep"}`), &s); err == nil ||
		!strings.Contains(err.Error(), "unknown state") {
		t.Errorf("an unknown state: %v", err)
	}
}

// A running graph says by itself which stage is its bottleneck, and all links into its merge have the
// figures of their buffer.
func TestBottleneckOfARunningGraph(t *testing.T) {
	show := parts.New()
	started(t, show, orders("billing"))
	p := New(nil, show, Config{})
	want := finding{warn, "price (2 workers) is busy 100 % of the time; its input is full."}
	redistest.Soon(t, "price is named", func() bool {
		g := looks(p, "billing").Graph
		return g.Findings[0] == want && g.Bottleneck == "price"
	})
	for _, l := range looks(p, "billing").Graph.Links {
		if l.Edge && l.Size == 0 {
			t.Errorf("a link without a buffer: %+v", l)
		}
	}
}
