package inspect

import (
	"cmp"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// graphView is a graph as the page draws it: the sums, averages and rates of all processes that run
// it. Shares are from 0 to 1, times are seconds.
type graphView struct {
	Name       string         `json:"name"`
	Level      level          `json:"level"`
	State      string         `json:"state"`
	Rate       float64        `json:"rate"` // entries read per second
	Findings   []finding      `json:"findings"`
	Bottleneck string         `json:"bottleneck,omitempty"` // a stage
	Processes  []graphProcess `json:"processes"`
	Stages     []stageView    `json:"stages"`
	Links      []linkView     `json:"links"`
	Sources    []sourceView   `json:"sources"`
	Events     []eventView    `json:"events"` // the newest first

	at       time.Time
	stuck    string
	measured bool // there are rates
}

// graphProcess is a process that runs the graph.
type graphProcess struct {
	ID      string   `json:"id"`
	State   string   `json:"state"`
	Uptime  float64  `json:"uptime"`
	Gone    bool     `json:"gone,omitempty"`
	Failure string   `json:"failure,omitempty"`
	Stuck   []string `json:"stuck,omitempty"`
}

// stageView is a stage. Stages with the same Lane share a goroutine.
type stageView struct {
	Name      string   `json:"name"`
	Kind      string   `json:"kind"`
	Workers   int      `json:"workers,omitempty"` // in each process
	Order     string   `json:"order,omitempty"`
	Lane      int      `json:"lane"`
	InRate    float64  `json:"in"`
	OutRate   float64  `json:"out"`
	FaultRate float64  `json:"fault_rate"`
	Total     uint64   `json:"total"` // messages in, of a source: out
	Faults    uint64   `json:"faults"`
	Retries   uint64   `json:"retries"`
	Dropped   uint64   `json:"dropped"`
	Dead      uint64   `json:"dead"`
	Restarts  uint64   `json:"restarts"`
	Busy      *float64 `json:"busy"`    // share of the time of a worker, including waits for retries
	Blocked   float64  `json:"blocked"` // share of the time that it waited for room behind it
}

// linkView is a link between two stages.
type linkView struct {
	From    string  `json:"from"`
	To      string  `json:"to"`
	Edge    bool    `json:"edge"`
	Rate    float64 `json:"rate"`
	Fill    int     `json:"fill"` // chunks
	Size    int     `json:"size"`
	Blocked float64 `json:"blocked"` // share of the time that its senders waited
	Heat    float64 `json:"heat"`    // the larger of the fill and of Blocked
}

// sourceView is a source. Counts of the backend are -1 if unknown.
type sourceView struct {
	Name        string  `json:"name"`
	Rate        float64 `json:"rate"` // entries settled per second
	Lag         int64   `json:"lag"`
	LagRate     float64 `json:"lag_rate"` // its growth per second
	Pending     int64   `json:"pending"`
	InFlight    int     `json:"in_flight"`
	MaxInFlight int     `json:"max_in_flight"`
	Oldest      float64 `json:"oldest"`
	Dead        uint64  `json:"dead"`
	Nacked      uint64  `json:"nacked"`
	Lost        uint64  `json:"lost"`
	Paused      bool    `json:"paused,omitempty"`
	DeadRate    float64 `json:"dead_rate"`
	LostRate    float64 `json:"lost_rate"`
	DeadKey     string  `json:"dead_key,omitempty"` // the stream of its dead letters
}

// eventView is an event, with its process.
type eventView struct {
	flow.Event
	Process string `json:"process"`
}

// maxEvents bounds the events of a graph on the page.
const maxEvents = 100

// sample is the newest report of a graph in one process, with an earlier one to compare to.
type sample struct {
	process  string
	gone     bool
	now, was *GraphReport  // was is nil without one of the same run
	span     time.Duration // between them
}

// viewOf merges the samples of a graph. At least one is needed.
func viewOf(name string, samples []sample, at time.Time) *graphView {
	v := &graphView{
		Name: name, at: at, Stages: []stageView{}, Links: []linkView{}, Sources: []sourceView{}, Events: []eventView{},
	}
	for i := range samples {
		v.process(&samples[i])
	}
	v.lanes()
	slices.SortStableFunc(v.Events, func(a, b eventView) int { return b.Time.Compare(a.Time) })
	v.Events = v.Events[:min(len(v.Events), maxEvents)]
	v.Findings = v.findings()
	v.Level = v.Findings[0].Level
	return v
}

// process adds a sample.
func (v *graphView) process(s *sample) {
	now := &s.now.Snapshot
	p := graphProcess{
		ID: s.process, State: now.State.String(), Uptime: now.Uptime.Seconds(), Gone: s.gone, Failure: now.Failure,
	}
	for _, stuck := range now.Draining {
		p.Stuck = append(p.Stuck, stuck.Stage)
	}
	v.Processes = append(v.Processes, p)
	if !s.gone && (v.State == "" || v.State == "ended") {
		v.State = p.State
	}
	for _, e := range s.now.Recent {
		v.Events = append(v.Events, eventView{e, s.process})
	}
	for _, d := range s.now.Blueprint.Stages {
		v.addStage(d)
	}
	for _, l := range s.now.Blueprint.Links {
		v.addLink(l)
	}
	if s.gone {
		return
	}
	defer v.nameDeadLetters(&s.now.Blueprint)
	if b := now.Bottleneck; b != nil && b.Stuck > 0 {
		v.stuck = b.Reason
	}
	d := delta{now: now, seconds: s.span.Seconds()}
	if s.was != nil && d.seconds > 0 {
		d.was, v.measured = &s.was.Snapshot, true
	}
	d.addTo(v)
}

func (v *graphView) addStage(d flow.StageDescription) {
	if v.stage(d.Name) == nil {
		v.Stages = append(v.Stages, stageView{Name: d.Name, Kind: d.Kind, Workers: d.Workers, Order: d.Order})
	}
}

// nameDeadLetters adds the streams of dead letters to the sources.
func (v *graphView) nameDeadLetters(d *flow.Description) {
	for i := range v.Sources {
		s := &v.Sources[i]
		if stage := find(d.Stages, func(d *flow.StageDescription) bool { return d.Name == s.Name }); stage != nil {
			s.DeadKey = cmp.Or(s.DeadKey, stage.DeadLettersTo)
		}
	}
}

func (v *graphView) addLink(d flow.LinkDescription) {
	if v.link(d.From, d.To) == nil {
		v.Links = append(v.Links, linkView{From: d.From, To: d.To, Edge: d.Edge})
	}
}

func (v *graphView) stage(name string) *stageView {
	return find(v.Stages, func(s *stageView) bool { return s.Name == name })
}

func (v *graphView) link(from, to string) *linkView {
	return find(v.Links, func(l *linkView) bool { return l.From == from && l.To == to })
}

// find returns the first element for which is returns true, or nil. It copies none: they are large.
func find[T any](in []T, is func(*T) bool) *T {
	for i := range in {
		if is(&in[i]) {
			return &in[i]
		}
	}
	return nil
}

// lanes numbers the goroutines: a link that is no edge joins two stages, unless workers are before it.
func (v *graphView) lanes() {
	for i := range v.Stages {
		v.Stages[i].Lane = i
	}
	for _, l := range v.Links {
		from, to := v.stage(l.From), v.stage(l.To)
		if l.Edge || from == nil || to == nil || from.Workers > 1 {
			continue
		}
		keep, gone := min(from.Lane, to.Lane), max(from.Lane, to.Lane)
		for i := range v.Stages {
			if v.Stages[i].Lane == gone {
				v.Stages[i].Lane = keep
			}
		}
	}
	alive := 0
	for _, p := range v.Processes {
		if !p.Gone {
			alive++
		}
	}
	for i := range v.Stages { // what was added up becomes an average
		s := &v.Stages[i]
		if s.Busy != nil {
			*s.Busy = min(1, *s.Busy/float64(max(alive, 1)))
		}
		s.Blocked = min(1, s.Blocked/float64(max(alive, 1)))
	}
	for i := range v.Links {
		l := &v.Links[i]
		l.Blocked = min(1, l.Blocked/float64(max(alive, 1)))
		l.Heat = max(l.Blocked, float64(l.Fill)/float64(max(l.Size, 1)))
	}
	v.shareMerges()
}

// shareMerges completes the links into a merge. They share one buffer, and a snapshot counts it at
// one of them.
func (v *graphView) shareMerges() {
	for i := range v.Links {
		l := &v.Links[i]
		from, to := v.stage(l.From), v.stage(l.To)
		if !l.Edge || from == nil || to == nil || to.Kind != "merge" {
			continue
		}
		counted := find(v.Links, func(o *linkView) bool { return o.To == l.To && o.Edge && o.Size > 0 })
		if counted == nil {
			continue
		}
		l.Fill, l.Size, l.Blocked, l.Heat = counted.Fill, counted.Size, counted.Blocked, counted.Heat
		l.Rate = from.OutRate
	}
}

// delta is what has happened between two snapshots of one run of a graph.
type delta struct {
	now, was *flow.Snapshot // was may be nil
	seconds  float64
}

// before returns the earlier state; without one it is empty.
func (d *delta) before() *flow.Snapshot { return cmp.Or(d.was, &flow.Snapshot{}) }

// rate is the change of a count per second.
func (d *delta) rate(now, was uint64) float64 {
	if d.was == nil || now < was {
		return 0
	}
	return float64(now-was) / d.seconds
}

// share is the change of a time, as a share of the time that has passed.
func (d *delta) share(now, was time.Duration) float64 {
	if d.was == nil || now < was {
		return 0
	}
	return (now - was).Seconds() / d.seconds
}

func (d *delta) addTo(v *graphView) {
	for i := range d.now.Stages {
		d.addStage(v, &d.now.Stages[i])
	}
	before := edgesOf(d.before())
	for ends, e := range edgesOf(d.now) {
		if l := v.link(ends[0], ends[1]); l != nil {
			l.Rate += d.rate(e.Messages, before[ends].Messages)
			l.Blocked += d.share(e.Blocked, before[ends].Blocked)
			l.Fill += e.Fill
			l.Size += e.Size
		}
	}
	for i := range d.now.Sources {
		d.addSource(v, &d.now.Sources[i])
	}
}

// edgesOf adds up the edges between each two stages.
func edgesOf(s *flow.Snapshot) map[[2]string]flow.EdgeSnapshot {
	all := make(map[[2]string]flow.EdgeSnapshot, len(s.Edges))
	for _, e := range s.Edges {
		sum := all[[2]string{e.From, e.To}]
		sum.Messages += e.Messages
		sum.Blocked += e.Blocked
		sum.Fill += e.Fill
		sum.Size += e.Size
		all[[2]string{e.From, e.To}] = sum
	}
	return all
}

func (d *delta) addStage(v *graphView, n *flow.StageSnapshot) {
	s := v.stage(n.Name)
	if s == nil {
		return
	}
	was := cmp.Or(find(d.before().Stages, func(o *flow.StageSnapshot) bool { return o.Name == n.Name }), n)
	s.InRate += d.rate(n.In, was.In)
	s.OutRate += d.rate(n.Out, was.Out)
	s.FaultRate += d.rate(n.Faults, was.Faults)
	s.Total += cmp.Or(n.In, n.Out)
	s.Faults += n.Faults
	s.Retries += n.Retries
	s.Dropped += n.Dropped
	s.Dead += n.Dead
	s.Restarts += n.Restarts
	s.Blocked += d.share(n.Blocked, was.Blocked)
	if n.Busy != nil && d.was != nil {
		before := time.Duration(0)
		if was.Busy != nil {
			before = *was.Busy
		}
		busy := (d.share(*n.Busy, before) + d.share(n.Retrying, was.Retrying)) / float64(max(s.Workers, 1))
		if s.Busy != nil {
			busy += *s.Busy
		}
		s.Busy = &busy
	}
}

func (d *delta) addSource(v *graphView, n *flow.SourceSnapshot) {
	s := find(v.Sources, func(s *sourceView) bool { return s.Name == n.Name })
	if s == nil {
		v.Sources = append(v.Sources, sourceView{Name: n.Name, Lag: -1, Pending: -1})
		s = &v.Sources[len(v.Sources)-1]
	}
	was := cmp.Or(find(d.before().Sources, func(o *flow.SourceSnapshot) bool { return o.Name == n.Name }), n)
	v.Rate += d.rate(n.Read, was.Read)
	s.Rate += d.rate(n.Settled, was.Settled)
	s.DeadRate += d.rate(n.Dead, was.Dead)
	s.LostRate += d.rate(n.Lost, was.Lost)
	s.Lag, s.Pending = max(s.Lag, n.Lag), max(s.Pending, n.Pending) // of the group: the same in all processes
	if n.Lag >= 0 && was.Lag >= 0 && d.was != nil {
		s.LagRate = float64(n.Lag-was.Lag) / d.seconds
	}
	s.InFlight += n.InFlight
	s.MaxInFlight += n.MaxInFlight
	s.Oldest = max(s.Oldest, n.Oldest.Seconds())
	s.Dead += n.Dead
	s.Nacked += n.Nacked
	s.Lost += n.Lost
	s.Paused = s.Paused || n.Paused
}
