// Under the race detector, the JSON of 30,000 stages is too slow.

//go:build !race

package inspect

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// The size of an application that the page is made for.
const (
	manyProcesses = 20
	manyGraphs    = 50
	manyStages    = 30
)

// reportOf returns the report of a process with many graphs. Each source has read that many
// entries.
func reportOf(process int, read uint64, at time.Time) *Report {
	r := &Report{
		App: "shop", Process: fmt.Sprintf("p%02d", process), Host: "host", PID: 1, Started: at.Add(-time.Hour), At: at,
		Parts: []PartReport{}, Obeys: true,
	}
	busy := time.Duration(read) * time.Millisecond
	for g := range manyGraphs {
		name := fmt.Sprintf("graph %02d", g)
		b := flow.Description{Graph: name}
		s := flow.Snapshot{Graph: name, State: flow.Active, Uptime: time.Duration(read) * time.Second}
		for i := range manyStages {
			stage := flow.StageDescription{Name: fmt.Sprintf("stage %02d", i), Kind: "stage"}
			switch i {
			case 0:
				stage.Kind, stage.DeadLettersTo = "source", name+":dead"
				s.Sources = append(s.Sources, flow.SourceSnapshot{
					Name: stage.Name, Read: read, Settled: read, MaxInFlight: 4096, InFlight: 100, Lag: 7, Pending: 100,
				})
			case manyStages - 1:
				stage.Kind = "sink"
			}
			b.Stages = append(b.Stages, stage)
			s.Stages = append(s.Stages, flow.StageSnapshot{
				Name: stage.Name, Kind: stage.Kind, In: read, Out: read, Busy: &busy, Workers: 1,
			})
			if i > 0 {
				from := b.Stages[i-1].Name
				b.Links = append(b.Links, flow.LinkDescription{From: from, To: stage.Name, Edge: true, Bound: 512})
				s.Edges = append(s.Edges, flow.EdgeSnapshot{
					From: from, To: stage.Name, Messages: read, Chunks: read / 10, Fill: i % 3, Size: 2,
				})
			}
		}
		r.Graphs = append(r.Graphs, GraphReport{Blueprint: b, Snapshot: s})
	}
	return r
}

// An application of 20 processes with 50 graphs of 30 stages is shown, and the figures move.
func TestLargeApplication(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	p := New(rdb, parts.New(), acting(silentLog))
	read := uint64(0)
	publish := func() {
		t.Helper()
		read += 1000
		p.board.hurry() // what it shows is tested, not how often
		for i := range manyProcesses {
			r := reportOf(i, read, time.Now())
			published(t, newShared(rdb, "shop", r.Process), r)
			at := float64(time.Now().Add(time.Hour).UnixMilli()) // alive, however long the browser takes
			if err := rdb.ZAdd(t.Context(), p.shared.index, redis.Z{Score: at, Member: r.Process}).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish()
	tab := tab(t, site(t, p)+"#/graph/graph%2007", sizes[0], false)
	shows(t, tab, "all graphs", `document.querySelectorAll('#graphs li').length === 50 &&
		document.querySelector('#summary').textContent.startsWith('21 processes') &&
		document.querySelectorAll('#drawing .row').length === 30 &&
		document.querySelectorAll('#places tbody tr').length === 20 &&
		document.querySelectorAll('#graph-actions button').length === 2`)
	redistest.Soon(t, "the page shows rates", func() bool {
		publish()
		return look[bool](t, tab, `/[1-9]\d*\/s/.test(document.querySelector('#figures').textContent)`)
	})
	picture(t, tab, "large")
	look[string](t, tab, `location.hash = '#/graph/graph%2049'`)
	shows(t, tab, "another graph", `document.querySelector('#graph-name').textContent === 'graph 49' &&
		document.querySelectorAll('#drawing .row').length === 30`)
	look[string](t, tab, `location.hash = '#/processes'`)
	shows(t, tab, "the processes", `document.querySelectorAll('#processes tbody tr').length === 21`)
	look[string](t, tab, `location.hash = '#/dead'`)
	shows(t, tab, "the streams of dead letters", `document.querySelectorAll('#streams tbody tr').length === 50`)
}

// BenchmarkLargeApplication is what an open page costs its process at each refresh, in the parts
// read (the reports of all processes), view (the sums of all graphs) and send (the state). The pause
// between two refreshes is 100 times the first two, divided by the number of processors.
func BenchmarkLargeApplication(b *testing.B) {
	var packed [manyProcesses][]byte
	boards := &board{processes: make(map[string]*process)}
	for i := range packed {
		r := reportOf(i, 2000, time.Now())
		boards.put(reportOf(i, 1000, r.At.Add(-2*time.Second)))
		boards.put(r)
		var err error
		if packed[i], err = pack(r); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("%d bytes packed", len(packed[0]))
	b.Run("read", func(b *testing.B) {
		var u unpacker
		for b.Loop() {
			for _, p := range packed {
				if _, err := u.unpack(p); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	view := func() {
		boards.views = make(map[string]*graphView)
		for name, of := range boards.samples() {
			boards.views[name] = viewOf(name, of, time.Now())
		}
		boards.overview = boards.look()
	}
	b.Run("view", func(b *testing.B) {
		for b.Loop() {
			view()
		}
	})
	view()
	b.Run("send", func(b *testing.B) {
		for b.Loop() {
			text, err := json.Marshal(state{boards.overview, boards.views["graph 07"], 0})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(len(text)), "bytes")
		}
	})
}
