package inspect

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/parts"
)

// Report is the state of a process as data. Counts are totals; two reports give the rates. Its JSON
// is at most 2 MiB.
type Report struct {
	App     string        `json:"app"`
	Process string        `json:"process"` // unique for each life of a process
	Host    string        `json:"host"`
	PID     int           `json:"pid"`
	Started time.Time     `json:"started"`
	At      time.Time     `json:"at"`
	Graphs  []GraphReport `json:"graphs"`
	Parts   []PartReport  `json:"parts"`
	Obeys   bool          `json:"obeys,omitempty"` // it takes actions from the pages of other processes
	// Omitted is the number of graphs and parts that are left out, because there are too many.
	Omitted int `json:"omitted,omitempty"`
}

// GraphReport is the state of one graph of a process.
type GraphReport struct {
	Blueprint flow.Description `json:"blueprint"`
	Snapshot  flow.Snapshot    `json:"snapshot"`
	Recent    []flow.Event     `json:"recent"` // oldest first
}

// Limits of a report.
const (
	maxGraphs  = 200
	maxParts   = 200
	maxReport  = 2 << 20 // bytes of JSON
	maxStages  = 500     // of a graph; a larger one is reported without its stages
	askTimeout = 500 * time.Millisecond
)

// collector makes the reports of this process.
type collector struct {
	show    *parts.Set
	app     string
	process string
	host    string
	started time.Time
	obeys   bool
}

// collect asks all parts for their state. The sources' backends have half a second for their lag.
func (c *collector) collect(ctx context.Context) *Report {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r := &Report{
		App: c.app, Process: c.process, Host: c.host, PID: os.Getpid(), Started: c.started,
		Graphs: []GraphReport{}, Parts: partsOf(c.show), Obeys: c.obeys,
	}
	graphs := c.show.Graphs()
	if n := len(graphs) - maxGraphs; n > 0 {
		r.Omitted += n
		graphs = graphs[:maxGraphs]
	}
	if n := len(r.Parts) - maxParts; n > 0 {
		r.Omitted += n
		r.Parts = r.Parts[:maxParts]
	}
	for _, g := range graphs {
		report := GraphReport{Blueprint: g.Graph().Describe(), Snapshot: g.Snapshot(ctx), Recent: g.Recent()}
		if len(report.Blueprint.Stages) > maxStages {
			report.Blueprint.Stages, report.Blueprint.Links = nil, nil
			report.Snapshot.Stages, report.Snapshot.Edges = nil, nil
		}
		r.Graphs = append(r.Graphs, report)
	}
	r.At = time.Now()
	return r
}

// encode returns the JSON of a report. A report that is too large loses, step by step, its oldest
// events, its stages, and its last graphs.
func (r *Report) encode() ([]byte, error) {
	for step := 0; ; step++ {
		text, err := json.Marshal(r)
		if err != nil || len(text) <= maxReport {
			return text, err
		}
		if step > 4 {
			half := len(r.Graphs) / 2
			r.Omitted += len(r.Graphs) - half
			r.Graphs = r.Graphs[:half]
			if half == 0 {
				r.Omitted += len(r.Parts)
				r.Parts = nil
			}
		}
		for i := range r.Graphs {
			g := &r.Graphs[i]
			keep := len(g.Recent) / 4
			g.Recent = g.Recent[len(g.Recent)-keep:]
			if step == 4 {
				g.Blueprint.Stages, g.Blueprint.Links, g.Snapshot.Stages, g.Snapshot.Edges = nil, nil, nil, nil
			}
		}
	}
}

// hostName returns the name of this machine, for people.
func hostName() string {
	name, _ := os.Hostname() // "" serves as well
	return cmp.Or(name, "localhost")
}
