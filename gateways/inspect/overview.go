package inspect

import (
	"cmp"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
)

// overview is the state of an application, without the details of its graphs. It does not change.
type overview struct {
	App       string        `json:"app"`
	At        time.Time     `json:"at"`
	Notice    string        `json:"notice,omitempty"`
	Processes []processView `json:"processes"`
	Graphs    []graphRow    `json:"graphs"` // those with trouble first
	Parts     []partView    `json:"parts"`
	Dead      []deadView    `json:"dead"`
	Allows    allows        `json:"allows"`
	Omitted   int           `json:"omitted,omitempty"`
}

// processView is a process.
type processView struct {
	ID      string  `json:"id"`
	Host    string  `json:"host"`
	PID     int     `json:"pid"`
	Uptime  float64 `json:"uptime"` // seconds
	Age     float64 `json:"age"`    // of its report, in seconds
	Gone    bool    `json:"gone,omitempty"`
	Here    bool    `json:"here,omitempty"` // it serves this page
	Obeys   bool    `json:"obeys,omitempty"`
	Graphs  int     `json:"graphs"`
	Trouble int     `json:"trouble"` // graphs that have failed
}

// graphRow is a graph in the list.
type graphRow struct {
	Name      string  `json:"name"`
	Level     level   `json:"level"`
	State     string  `json:"state"`
	Rate      float64 `json:"rate"`
	Lag       int64   `json:"lag"` // of all sources; -1: unknown
	Text      string  `json:"text"`
	Processes int     `json:"processes"`
}

// partView is a service, client, hub or handler, summed over the processes.
type partView struct {
	Kind      string       `json:"kind"`
	Name      string       `json:"name"`
	Processes int          `json:"processes"`
	Figures   []figureView `json:"figures"`
	Median    string       `json:"p50,omitempty"` // of its calls in the last seconds, else since the start
	Slowest   string       `json:"p99,omitempty"` // 99 % of them were as quick

	took, before []uint64 // buckets
}

// figureView is a number of a part. Rate is nil for a current value, and without an earlier report.
type figureView struct {
	Figure
	Rate *float64 `json:"rate,omitempty"`
}

// look makes the overview from the views.
func (b *board) look() *overview {
	o := &overview{
		At: b.fresh, Notice: b.notice, Processes: []processView{}, Graphs: []graphRow{}, Parts: b.parts(),
		Dead: b.dead, Allows: b.allows,
	}
	for _, id := range b.ids() {
		p := b.processes[id]
		now, _ := p.newest()
		o.App = cmp.Or(o.App, now.App)
		o.Omitted += now.Omitted
		row := processView{
			ID: id, Host: now.Host, PID: now.PID, Uptime: now.At.Sub(now.Started).Seconds(),
			Age: b.fresh.Sub(p.seen).Seconds(), Gone: p.gone, Here: id == b.here, Obeys: now.Obeys,
			Graphs: len(now.Graphs),
		}
		for i := range now.Graphs {
			if now.Graphs[i].Snapshot.Failure != "" {
				row.Trouble++
			}
		}
		o.Processes = append(o.Processes, row)
	}
	for _, v := range b.views {
		row := graphRow{
			Name: v.Name, Level: v.Level, State: v.State, Rate: v.Rate, Lag: -1, Text: v.Findings[0].Text,
			Processes: len(v.Processes),
		}
		for _, s := range v.Sources {
			if s.Lag >= 0 {
				row.Lag = max(row.Lag, 0) + s.Lag
			}
		}
		o.Graphs = append(o.Graphs, row)
	}
	slices.SortFunc(o.Graphs, func(x, y graphRow) int {
		return cmp.Or(int(y.Level-x.Level), cmp.Compare(x.Name, y.Name))
	})
	return o
}

// parts adds up the parts of the same kind and name.
func (b *board) parts() []partView {
	all := []partView{}
	for _, id := range b.ids() {
		p := b.processes[id]
		if p.gone {
			continue
		}
		now, was := p.newest()
		for i := range now.Parts {
			part := &now.Parts[i]
			is := func(o *PartReport) bool { return o.Kind == part.Kind && o.Name == part.Name }
			v := find(all, func(v *partView) bool { return v.Kind == part.Kind && v.Name == part.Name })
			if v == nil {
				all = append(all, partView{Kind: part.Kind, Name: part.Name, Figures: []figureView{}})
				v = &all[len(all)-1]
			}
			var before *PartReport
			seconds := 0.0
			if was != nil {
				before, seconds = find(was.Parts, is), now.At.Sub(was.At).Seconds()
			}
			v.Processes++
			v.add(part, before, seconds)
		}
	}
	for i := range all {
		all[i].latency()
	}
	slices.SortStableFunc(all, func(x, y partView) int { return cmp.Compare(order(x.Kind), order(y.Kind)) })
	return all
}

func order(kind string) int { return slices.Index(partKinds, kind) }

// add adds the figures of a part in one process.
func (v *partView) add(now, was *PartReport, seconds float64) {
	v.took = sum(v.took, now.Took)
	if was != nil {
		v.before = sum(v.before, was.Took)
	}
	for _, f := range now.Figures {
		is := func(o *Figure) bool { return o.Name == f.Name }
		sum := find(v.Figures, func(o *figureView) bool { return o.Name == f.Name })
		if sum == nil {
			v.Figures = append(v.Figures, figureView{Figure: f})
			sum = &v.Figures[len(v.Figures)-1]
		} else {
			sum.Value += f.Value
		}
		if f.Now || was == nil || seconds <= 0 {
			continue
		}
		if before := find(was.Figures, is); before != nil && f.Value >= before.Value {
			rate := float64(f.Value-before.Value) / seconds
			if sum.Rate != nil {
				rate += *sum.Rate
			}
			sum.Rate = &rate
		}
	}
}

// sum adds buckets to those of other processes.
func sum(to, buckets []uint64) []uint64 {
	for i, n := range buckets {
		if i == len(to) {
			to = append(to, 0)
		}
		to[i] += n
	}
	return to
}

// latency computes the percentiles.
func (v *partView) latency() {
	recent := slices.Clone(v.took)
	for i, n := range v.before[:min(len(v.before), len(recent))] {
		recent[i] -= min(n, recent[i])
	}
	if v.Median = quantile(recent, 0.5); v.Median == "" || v.before == nil {
		recent = v.took
	}
	v.Median, v.Slowest = quantile(recent, 0.5), quantile(recent, 0.99)
}

// quantile returns the bound of the bucket that has a quantile, or "" without calls.
func quantile(buckets []uint64, share float64) string {
	bounds, total, n := gateways.CallBounds(), uint64(0), uint64(0)
	for _, b := range buckets {
		total += b
	}
	if total == 0 {
		return ""
	}
	for i, b := range buckets {
		if n += b; float64(n) < share*float64(total) {
			continue
		}
		if i < len(bounds) {
			return "≤ " + span(bounds[i].Seconds())
		}
		break
	}
	return "> " + span(bounds[len(bounds)-1].Seconds())
}
