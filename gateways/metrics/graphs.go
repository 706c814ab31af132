package metrics

import (
	"context"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/parts"
)

// history knows each run of each graph of a set.
//
// Idea: a graph that is started again begins at zero, but its counters must not go down. So the
// counts of runs that have ended and left the set are kept, by the name of the graph. The runs
// between two scrapes are known too, because the set reports each.
type history struct {
	set *parts.Set

	mu     sync.Mutex
	runs   map[string][]*run                   // by the name of the graph
	kept   map[string]*samples                 // counters of runs that are in runs no more
	folded map[weak.Pointer[flow.Running]]bool // those of them that the set may still list
}

// run is a run of a graph.
type run struct {
	*flow.Running
	busy map[string]time.Duration // by stage: an estimate may go down, a counter must not
}

const (
	// keptMost is how many graphs that do not run now are remembered.
	keptMost = 1000
	// runsMost is how many runs of a graph are kept between scrapes before their counts are summed.
	runsMost = 4
)

func newHistory(set *parts.Set) *history {
	h := &history{set: set, runs: make(map[string][]*run), kept: make(map[string]*samples),
		folded: make(map[weak.Pointer[flow.Running]]bool)}
	set.Observe(h)
	return h
}

// Started adds a run. It must not ask the set, because a supervisor of the set may hold its lock.
func (h *history) Started(r *flow.Running) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.know(r)
	if name := r.Graph().Name(); len(h.runs[name]) > runsMost {
		h.fold(name, []*flow.Running{r}) // which may have ended already
	}
}

// know adds a run, unless it is known. h.mu is held.
func (h *history) know(r *flow.Running) {
	name := r.Graph().Name()
	known := slices.ContainsFunc(h.runs[name], func(old *run) bool { return old.Running == r })
	if !known && !h.folded[weak.Make(r)] {
		h.runs[name] = append(h.runs[name], &run{r, make(map[string]time.Duration)})
	}
}

// fold keeps the counts of the runs of a name that have ended and are not listed. h.mu is held.
func (h *history) fold(name string, listed []*flow.Running) {
	over, cancel := context.WithCancel(context.Background())
	cancel() // so that the snapshots ask no backend
	h.runs[name] = slices.DeleteFunc(h.runs[name], func(r *run) bool {
		if r.State() != flow.Ended || slices.Contains(listed, r.Running) {
			return false
		}
		if h.kept[name] == nil {
			h.forget()
			h.kept[name] = newSamples()
		}
		last := newSamples()
		r.collect(r.Snapshot(over), last)
		h.kept[name].keep(last)
		h.folded[weak.Make(r.Running)] = true
		return true
	})
	if len(h.runs[name]) == 0 {
		delete(h.runs, name)
	}
}

// forget makes room for the counts of another graph. h.mu is held.
func (h *history) forget() {
	for name := range h.kept {
		if len(h.kept) < keptMost {
			return
		}
		if h.runs[name] == nil {
			delete(h.kept, name)
		}
	}
}

// current returns the runs to show.
func (h *history) current() (all []*run) {
	listed := h.set.Graphs()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range listed {
		h.know(r)
	}
	for p := range h.folded {
		if r := p.Value(); r == nil || !slices.Contains(listed, r) {
			delete(h.folded, p)
		}
	}
	for name := range h.runs {
		h.fold(name, listed)
		all = append(all, h.runs[name]...)
	}
	return all
}

// collect adds the numbers of all graphs. All sources are asked at once, until ctx is done.
func (h *history) collect(ctx context.Context, to *samples) {
	current := h.current()
	snapshots := make([]flow.Snapshot, len(current))
	var asked sync.WaitGroup
	for i, r := range current {
		asked.Go(func() { snapshots[i] = r.Snapshot(ctx) })
	}
	asked.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	shown := make(map[string]bool)
	for i, r := range current {
		name := r.Graph().Name()
		if slices.Contains(h.runs[name], r) { // else it was folded meanwhile
			r.collect(snapshots[i], to)
		}
		if kept := h.kept[name]; kept != nil && !shown[name] {
			to.add(kept)
		}
		shown[name] = true
	}
}

var states = [...]flow.State{flow.Starting, flow.Active, flow.Paused, flow.Draining, flow.Ended}

// collect adds the numbers of a run. The history's mu is held.
func (r *run) collect(s flow.Snapshot, to *samples) {
	g := s.Graph
	for _, state := range states {
		to.flag(graphState, s.State == state, g, state.String())
	}
	if s.State != flow.Ended {
		to.flag(graphReady, r.Ready() == nil, g)
		to.put(graphUptime, seconds(s.Uptime), g)
	}
	to.count(graphStarts, 1, g)
	to.flag(graphFails, s.Failure != "", g)
	for i := range s.Sources {
		collectSource(g, &s.Sources[i], s.State == flow.Ended, to)
	}
	for i := range s.Stages {
		r.collectStage(g, &s.Stages[i], to)
	}
	for _, e := range s.Edges {
		to.count(edgeMessages, e.Messages, g, e.From, e.To)
		to.count(edgeChunks, e.Chunks, g, e.From, e.To)
		to.put(edgeQueued, float64(e.Fill), g, e.From, e.To)
		to.put(edgeSize, float64(e.Size), g, e.From, e.To)
		to.put(edgeBlocked, seconds(e.Blocked), g, e.From, e.To)
	}
}

func collectSource(g string, s *flow.SourceSnapshot, ended bool, to *samples) {
	to.count(sourceRead, s.Read, g, s.Name)
	to.count(sourceSettled, s.Acked, g, s.Name, "acked")
	to.count(sourceSettled, s.Dropped, g, s.Name, "dropped")
	to.count(sourceSettled, s.Dead, g, s.Name, "dead")
	to.count(sourceSettled, s.Nacked, g, s.Name, "nacked")
	to.count(sourceLost, s.Lost, g, s.Name)
	if ended {
		return // the rest is about now
	}
	to.put(sourceInFlight, float64(s.InFlight), g, s.Name)
	to.put(sourceMost, float64(s.MaxInFlight), g, s.Name)
	to.put(sourceReadAhead, float64(s.ReadAhead), g, s.Name)
	to.put(sourceBytes, float64(s.BytesFree), g, s.Name)
	to.put(sourceOldest, seconds(s.Oldest), g, s.Name)
	to.flag(sourcePaused, s.Paused, g, s.Name)
	if s.Lag >= 0 {
		to.put(sourceLag, float64(s.Lag), g, s.Name)
	}
	if s.Pending >= 0 {
		to.put(sourcePending, float64(s.Pending), g, s.Name)
	}
}

func (r *run) collectStage(g string, s *flow.StageSnapshot, to *samples) {
	to.put(stageWorkers, float64(s.Workers), g, s.Name)
	to.count(stageIn, s.In, g, s.Name)
	to.count(stageOut, s.Out, g, s.Name)
	to.count(stageRetries, s.Retries, g, s.Name)
	to.count(stageRestarts, s.Restarts, g, s.Name)
	to.put(stageBlocked, seconds(s.Blocked), g, s.Name)
	to.put(stageRetrying, seconds(s.Retrying), g, s.Name)
	if s.Busy != nil {
		r.busy[s.Name] = max(r.busy[s.Name], *s.Busy)
		to.put(stageBusy, seconds(r.busy[s.Name]), g, s.Name)
	}
	to.put(stageInfo, 1, g, s.Name, s.Kind)
	to.count(stageFaults, s.FaultKinds[flow.FaultError], g, s.Name, string(flow.FaultError)) // from the start
	for kind, n := range s.FaultKinds {
		if kind != flow.FaultError {
			to.count(stageFaults, n, g, s.Name, string(kind))
		}
	}
	to.count(stageEnded, s.Dropped, g, s.Name, "dropped")
	to.count(stageEnded, s.Nacked, g, s.Name, "nacked")
	to.count(stageEnded, s.Dead, g, s.Name, "dead")
	for event, n := range s.Counts {
		to.count(stageEvents, n, g, s.Name, event)
	}
}
