package inspect

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// board has the newest reports of all processes, and a few older ones to compare them to.
type board struct {
	mu        sync.Mutex
	here      string // the id of this process
	processes map[string]*process
	fresh     time.Time     // of the last refresh
	pause     time.Duration // from then to the next
	work      time.Duration // how long a processor was busy with the refresh
	hurried   time.Time     // when the last action ended
	notice    string        // of the last refresh: why not everything is known
	views     map[string]*graphView
	overview  *overview
	dead      []deadView
	allows    allows
}

// allows is what the page's configuration allows.
type allows struct {
	Actions  bool `json:"actions,omitempty"`
	Payloads bool `json:"payloads,omitempty"`
}

// process is what is known of a process.
type process struct {
	reports []*Report // the newest last
	seen    time.Time // when the newest was published, by this process's clock
	gone    bool
}

// Rates compare reports of the last compareOver. A board that costs little is refreshed each refreshEvery.
const (
	compareOver  = 4500 * time.Millisecond
	refreshEvery = 950 * time.Millisecond
	maxPause     = 10 * time.Second // between two refreshes
	hurryFor     = 5 * time.Second  // after an action
	tooOld       = 15 * time.Second // to be compared to
)

// put adds the newest report of a process.
func (b *board) put(r *Report) {
	p := b.processes[r.Process]
	if p == nil {
		p = &process{}
		b.processes[r.Process] = p
	}
	p.seen, p.gone = time.Now(), false
	if n := len(p.reports); n > 0 {
		switch last := p.reports[n-1]; {
		case !r.At.After(last.At):
			return
		case r.At.Sub(last.At) > tooOld:
			p.reports = nil
		default: // of old reports only the counts matter
			for i := range last.Graphs {
				last.Graphs[i].Recent, last.Graphs[i].Blueprint.Stages, last.Graphs[i].Blueprint.Links = nil, nil, nil
			}
		}
	}
	p.reports = append(p.reports, r)
	for len(p.reports) > 2 && r.At.Sub(p.reports[1].At) >= compareOver {
		p.reports = slices.Delete(p.reports, 0, 1)
	}
}

// newest returns the newest report, and the one to compare it to, which may be nil.
func (p *process) newest() (now, was *Report) {
	now = p.reports[len(p.reports)-1]
	if len(p.reports) > 1 {
		was = p.reports[0]
	}
	return now, was
}

// samples returns the samples of all graphs by name.
func (b *board) samples() map[string][]sample {
	all := make(map[string][]sample)
	for _, id := range b.ids() {
		p := b.processes[id]
		now, was := p.newest()
		for i := range now.Graphs {
			g := &now.Graphs[i]
			s := sample{process: id, gone: p.gone, now: g}
			if was != nil {
				s.was, s.span = sameRun(was, g), now.At.Sub(was.At)
			}
			all[g.Blueprint.Graph] = append(all[g.Blueprint.Graph], s)
		}
	}
	return all
}

// sameRun returns the earlier report of the same run of a graph, or nil.
func sameRun(was *Report, g *GraphReport) *GraphReport {
	return find(was.Graphs, func(old *GraphReport) bool {
		return old.Snapshot.Graph == g.Snapshot.Graph && old.Snapshot.Uptime <= g.Snapshot.Uptime
	})
}

// ids returns the sorted ids of the processes.
func (b *board) ids() []string {
	ids := make([]string, 0, len(b.processes))
	for id := range b.processes {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(x, y string) int {
		p, _ := b.processes[x].newest()
		q, _ := b.processes[y].newest()
		return cmp.Or(p.Started.Compare(q.Started), cmp.Compare(x, y))
	})
	return ids
}

// state is what one event sends to a page.
type state struct {
	*overview
	Graph *graphView `json:"graph"` // the selected one; nil without one
	Old   float64    `json:"old"`   // seconds since the refresh
}

// see returns the newest state, with details of one graph. It refreshes the board if the pause since
// the last time is over, for all pages that are open.
func (b *board) see(ctx context.Context, graph string, refresh func(context.Context, *board)) state {
	b.mu.Lock()
	defer b.mu.Unlock()
	pause := b.pause
	if time.Since(b.hurried) < hurryFor {
		pause = refreshEvery
	}
	b.renew(ctx, pause, refresh)
	return state{b.overview, b.views[graph], time.Since(b.fresh).Seconds()}
}

// know refreshes the board before an action, and before a viewer opens something. That does not wait
// for the whole pause.
func (b *board) know(ctx context.Context, refresh func(context.Context, *board)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.renew(ctx, refreshEvery, refresh)
}

// hurry shortens the pauses for a while after an action, so that the pages show what it does.
func (b *board) hurry() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hurried = time.Now()
}

// renew refreshes a board that is as old as that, and computes the pause to the next time.
func (b *board) renew(ctx context.Context, old time.Duration, refresh func(context.Context, *board)) {
	if time.Since(b.fresh) < old {
		return
	}
	b.work = 0
	refresh(context.WithoutCancel(ctx), b) // also for the other pages
	b.fresh = time.Now()
	samples := b.samples()
	b.views = make(map[string]*graphView, len(samples))
	for name, of := range samples {
		b.views[name] = viewOf(name, of, b.fresh)
	}
	b.overview = b.look()
	b.work += time.Since(b.fresh)
	b.pause = pauseAfter(b.work, runtime.GOMAXPROCS(0))
}

// pauseAfter returns the pause after a refresh that kept one of the processors busy. Refreshes use 1 %
// of all processors; those that would need a pause above maxPause use more.
func pauseAfter(work time.Duration, processors int) time.Duration {
	return min(max(refreshEvery, 100*work/time.Duration(processors)), maxPause)
}

// hasDead reports whether a stream of dead letters is on the page.
func (b *board) hasDead(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return find(b.dead, func(d *deadView) bool { return d.Key == key }) != nil
}

// target is a process that runs a graph.
type target struct {
	id    string
	here  bool
	gone  bool
	obeys bool
	age   float64 // of its report, in seconds
}

// targets returns the processes that run a graph; only one, if it is named.
func (b *board) targets(graph, process string) (all []target) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range b.ids() {
		p := b.processes[id]
		now, _ := p.newest()
		runs := find(now.Graphs, func(g *GraphReport) bool { return g.Blueprint.Graph == graph })
		if runs == nil || process != "" && process != id {
			continue
		}
		if process == "" && runs.Snapshot.State == flow.Ended && !p.gone {
			continue // of all, those that still run
		}
		all = append(all, target{id, id == b.here, p.gone, now.Obeys, time.Since(p.seen).Seconds()})
	}
	return all
}
