package main

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
)

// graphFigures are the figures of a graph: of one process, or of all that are alive. Rates are per
// second, and 0 while Measured is false.
type graphFigures struct {
	State        string  `json:"state"`
	Measured     bool    `json:"measured"`
	ReadRate     float64 `json:"readRate"`
	SettledRate  float64 `json:"settledRate"`
	InFlight     int     `json:"inFlight"`
	MaxInFlight  int     `json:"maxInFlight"`
	Lag          int64   `json:"lag"`     // of the groups; -1: unknown
	Pending      int64   `json:"pending"` // of the groups; -1: unknown
	Oldest       int64   `json:"oldestMs"`
	Faults       uint64  `json:"faults"`
	FaultRate    float64 `json:"faultRate"`
	Dead         uint64  `json:"dead"`
	Restarts     uint64  `json:"restarts"`
	BusiestStage string  `json:"busiestStage,omitempty"`
	BusiestShare float64 `json:"busiestShare"`      // of the time of a worker, 0 to 1
	Stuck        int64   `json:"stuckMs,omitempty"` // how long a call of BusiestStage has not returned
	Failure      string  `json:"failure,omitempty"` // why it stopped by itself
}

// graphLine is a graph of an application.
type graphLine struct {
	Graph     string `json:"graph"`
	Processes int    `json:"processes"` // alive
	Gone      int    `json:"gone"`
	graphFigures
	Each []processLine `json:"each"`
}

// processLine is a graph in one process.
type processLine struct {
	Process string `json:"process"`
	Gone    bool   `json:"gone,omitempty"`
	graphFigures
}

// lines returns the graphs of an application, by name.
func (a *application) lines() []graphLine {
	graphs := make(map[string]*graphLine)
	sums := make(map[string]*graphSum)
	for _, p := range a.sorted() {
		now, was := p.newest(), p.before()
		for i := range now.Graphs {
			s := &now.Graphs[i].Snapshot
			line := graphs[s.Graph]
			if line == nil {
				line = &graphLine{Graph: s.Graph}
				graphs[s.Graph], sums[s.Graph] = line, newSum()
			}
			one := newSum()
			one.add(s, was, now)
			line.Each = append(line.Each, processLine{p.id, p.gone, one.figures()})
			if p.gone {
				line.Gone++
				continue
			}
			line.Processes++
			sums[s.Graph].add(s, was, now)
		}
	}
	all := make([]graphLine, 0, len(graphs))
	for name, line := range graphs {
		line.graphFigures = sums[name].figures()
		all = append(all, *line)
	}
	return all
}

// graphSum adds up the snapshots of a graph. The lag and the pending entries are those of a group,
// so processes do not add to them.
type graphSum struct {
	graphFigures
	n            int
	lag, pending map[string]int64   // by source
	busy         map[string]float64 // by stage: the sum of the shares
	states       []string
}

func newSum() *graphSum {
	return &graphSum{lag: make(map[string]int64), pending: make(map[string]int64), busy: make(map[string]float64)}
}

// add adds a snapshot of the report now. was is the earlier report of the process, or nil.
func (g *graphSum) add(s *snapshot, was, now *report) {
	g.n++
	g.states = append(g.states, s.State)
	g.Failure = cmp.Or(g.Failure, s.Failure)
	before, seconds := (*snapshot)(nil), 0.0
	if was != nil {
		before, seconds = was.sameRun(s), now.At.Sub(was.At).Seconds()
	}
	if before == nil || seconds <= 0 {
		before, seconds = s, 1 // so that all rates are 0
	} else {
		g.Measured = true
	}
	for i := range s.Sources {
		g.source(&s.Sources[i], before, seconds)
	}
	for i := range s.Stages {
		g.stage(&s.Stages[i], before, seconds)
	}
	if b := s.Bottleneck; b != nil && b.Stuck.Milliseconds() > g.Stuck {
		g.Stuck, g.BusiestStage = b.Stuck.Milliseconds(), b.Stage
	}
}

// sameRun returns the earlier snapshot of the same run of a graph, or nil.
func (r *report) sameRun(s *snapshot) *snapshot {
	for i := range r.Graphs {
		if was := &r.Graphs[i].Snapshot; was.Graph == s.Graph && was.Uptime <= s.Uptime {
			return was
		}
	}
	return nil
}

func (g *graphSum) source(n *sourceSnapshot, before *snapshot, seconds float64) {
	if i := slices.IndexFunc(before.Sources, func(o sourceSnapshot) bool { return o.Name == n.Name }); i >= 0 {
		g.ReadRate += grown(n.Read, before.Sources[i].Read) / seconds
		g.SettledRate += grown(n.Settled, before.Sources[i].Settled) / seconds
	}
	g.InFlight += n.InFlight
	g.MaxInFlight += n.MaxInFlight
	g.Dead += n.Dead
	g.Oldest = max(g.Oldest, n.Oldest.Milliseconds())
	if n.Lag >= 0 {
		g.lag[n.Name] = max(g.lag[n.Name], n.Lag)
	}
	if n.Pending >= 0 {
		g.pending[n.Name] = max(g.pending[n.Name], n.Pending)
	}
}

func (g *graphSum) stage(n *stageSnapshot, before *snapshot, seconds float64) {
	g.Faults += n.Faults
	g.Restarts += n.Restarts
	i := slices.IndexFunc(before.Stages, func(o stageSnapshot) bool { return o.Name == n.Name })
	if i < 0 {
		return
	}
	was := &before.Stages[i]
	g.FaultRate += grown(n.Faults, was.Faults) / seconds
	if n.Busy != nil {
		busy := *n.Busy + n.Retrying - was.Retrying
		if was.Busy != nil {
			busy -= *was.Busy
		}
		g.busy[n.Name] += max(0, busy.Seconds()) / seconds / float64(max(1, n.Workers))
	}
}

// grown returns the growth of a count.
func grown(now, was uint64) float64 {
	if now < was {
		return 0
	}
	return float64(now - was)
}

// figures returns the sum.
func (g *graphSum) figures() graphFigures {
	f := g.graphFigures
	f.Lag, f.Pending = sumOf(g.lag), sumOf(g.pending)
	slices.Sort(g.states)
	f.State = strings.Join(slices.Compact(g.states), "+")
	for stage, shares := range g.busy {
		share := min(1, shares/float64(g.n))
		if f.Stuck > 0 {
			if stage == f.BusiestStage {
				f.BusiestShare = share
			}
			continue
		}
		if f.BusiestStage == "" || cmp.Or(cmp.Compare(share, f.BusiestShare), cmp.Compare(f.BusiestStage, stage)) > 0 {
			f.BusiestStage, f.BusiestShare = stage, share
		}
	}
	return f
}

// sumOf returns the sum of what is known, or -1.
func sumOf(known map[string]int64) (sum int64) {
	if len(known) == 0 {
		return -1
	}
	for _, n := range known {
		sum += n
	}
	return sum
}

// partLine is a service, a client, a route, a hub or a handler of events, summed over the processes
// that are alive.
type partLine struct {
	Kind      string       `json:"part"`
	Name      string       `json:"name"`
	Processes int          `json:"processes"`
	Measured  bool         `json:"measured"`
	Figures   []figureLine `json:"figures"`
	Half      float64      `json:"p50Ms,omitempty"` // half of the calls took at most this long; -1: over 10s
	Most      float64      `json:"p99Ms,omitempty"` // 99 % of them

	took []uint64
}

// figureLine is a number of a part. Rate is its growth per second.
type figureLine struct {
	figure
	Rate float64 `json:"rate"`
}

var partKinds = []string{"service", "client", "route", "hub", "events"}

// parts returns the parts of an application, by kind and name.
func (a *application) parts() []partLine {
	var all []partLine
	for _, p := range a.sorted() {
		if p.gone {
			continue
		}
		now, was := p.newest(), p.before()
		for i := range now.Parts {
			part := &now.Parts[i]
			at := slices.IndexFunc(all, func(l partLine) bool { return l.Kind == part.Kind && l.Name == part.Name })
			if at < 0 {
				at, all = len(all), append(all, partLine{Kind: part.Kind, Name: part.Name})
			}
			all[at].add(part, was, now.At)
		}
	}
	for i := range all {
		all[i].Half, all[i].Most = quantile(all[i].took, 0.5), quantile(all[i].took, 0.99)
	}
	slices.SortStableFunc(all, func(x, y partLine) int {
		return cmp.Or(cmp.Compare(slices.Index(partKinds, x.Kind), slices.Index(partKinds, y.Kind)),
			cmp.Compare(x.Name, y.Name))
	})
	return all
}

func (l *partLine) add(part *partReport, was *report, at time.Time) {
	l.Processes++
	var before []figure
	var took []uint64
	seconds := 1.0
	if was != nil && at.After(was.At) {
		i := slices.IndexFunc(was.Parts, func(o partReport) bool { return o.Kind == part.Kind && o.Name == part.Name })
		if i >= 0 {
			before, seconds, l.Measured = was.Parts[i].Figures, at.Sub(was.At).Seconds(), true
			took = was.Parts[i].Took
		}
	}
	l.took = append(l.took, make([]uint64, max(0, len(part.Took)-len(l.took)))...)
	for i, n := range part.Took {
		if len(took) == len(part.Took) && n >= took[i] { // of the calls since then
			n -= took[i]
		}
		l.took[i] += n
	}
	for _, f := range part.Figures {
		i := slices.IndexFunc(l.Figures, func(o figureLine) bool { return o.Name == f.Name })
		if i < 0 {
			i, l.Figures = len(l.Figures), append(l.Figures, figureLine{figure: f})
		} else {
			l.Figures[i].Value += f.Value
		}
		old := slices.IndexFunc(before, func(o figure) bool { return o.Name == f.Name })
		if !f.Now && old >= 0 {
			l.Figures[i].Rate += float64(max(0, f.Value-before[old].Value)) / seconds
		}
	}
}

// quantile returns the bound, in milliseconds, that a share of the calls did not exceed. It is -1
// above all bounds, and 0 without calls.
func quantile(took []uint64, share float64) float64 {
	bounds, calls := gateways.CallBounds(), uint64(0)
	for _, n := range took {
		calls += n
	}
	if calls == 0 || len(took) != len(bounds)+1 {
		return 0
	}
	upTo := uint64(0)
	for i, bound := range bounds {
		if upTo += took[i]; float64(upTo) >= share*float64(calls) {
			return bound.Seconds() * 1000
		}
	}
	return -1
}
