package flow

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamerson/streamerson-go/flow/internal/run"
)

// Running is a started graph.
type Running struct {
	graph *Graph
	log   *slog.Logger

	contexts
	parts
	lanes      lanes
	group      run.Group     // the goroutines of the islands
	pipes      atomic.Int32  // islands that have not ended, except tasks
	idle       chan struct{} // closed when only tasks are left; nil if there are no tasks
	committers run.Group
	watches    watches
	recent     recent

	state   atomic.Int32 // State
	started time.Time
	ending  chan struct{} // holds a token after the end was requested
	done    chan struct{} // closed at the end
	runResult
}

// contexts are the two contexts of a run: reading ends when the graph drains, hard when it is
// stopped. tracer is the one of hard, or nil.
type contexts struct {
	tracer      Tracer
	reading     context.Context
	stopReading context.CancelFunc
	hard        context.Context
	stopHard    context.CancelCauseFunc
}

// parts are what a builder makes of the blueprint. They do not change while the graph runs.
type parts struct {
	stages    map[*node]*stageRun
	islands   []*island
	sources   []*sourceRun
	edges     []*edgeStats
	leftovers []func(*dirtySessions) // called at the end
	sweeps    []func(*dirtySessions) // called when the graph drains
}

// runResult is how a run ended.
type runResult struct {
	mu     sync.Mutex // guards the fields below
	err    error      // why the graph stopped by itself
	report DrainReport
	result error
	cut    bool // the context of Drain cut the drain short
}

// State is a phase in the life of a graph.
type State int32

const (
	// Starting means that parts of the graph do not run yet.
	Starting State = iota
	// Active means that the graph runs.
	Active
	// Paused means that the graph runs, but its sources do not read.
	Paused
	// Draining means that the sources have stopped reading, and the graph finishes the messages
	// already read.
	Draining
	// Ended means that the graph has ended. Wait returns the result.
	Ended
)

// String returns the state's name in lower case.
func (s State) String() string {
	return [...]string{"starting", "active", "paused", "draining", "ended"}[s]
}

// MarshalText returns the state's name, for JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a state's name.
func (s *State) UnmarshalText(text []byte) error {
	for known := Starting; known <= Ended; known++ {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("flow: unknown state %.20q: use starting, active, paused, draining or ended", text)
}

// Start starts the graph and returns at once. When ctx is done the graph drains, as in Run.
// Handlers see the values of ctx.
func (g *Graph) Start(ctx context.Context) (*Running, error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	r := &Running{
		graph: g, started: time.Now(), ending: make(chan struct{}, 1), done: make(chan struct{}),
	}
	r.stages, r.watches.run = make(map[*node]*stageRun, len(g.nodes)), r
	if r.log = g.log; r.log == nil {
		r.log = Logger(ctx)
	}
	r.log = Thinned(r.log).With("graph", g.name)
	ctx, r.tracer = g.trace(ctx)
	r.hard, r.stopHard = context.WithCancelCause(withLogger(context.WithoutCancel(ctx), r.log))
	r.reading, r.stopReading = context.WithCancel(r.hard)
	for _, n := range g.nodes {
		policy := n.policy
		if policy == nil {
			policy = g.policy
			if n.kind == kindSource && n.DeadLetters && !g.policySet {
				policy = DeadLetter // an entry that cannot be decoded now cannot be decoded later
			}
		}
		r.stages[n] = &stageRun{run: r, node: n, name: g.names[n], policy: policy}
		if n.inTurn {
			r.stages[n].begun = make([]atomic.Bool, len(n.ins))
		}
	}
	b := &builder{run: r, ends: make(map[*node][]boundary), heads: make(map[*node]any)}
	for _, branch := range g.branches {
		branch.link(b)
	}
	r.awaitTurns()
	r.state.Store(int32(Active))
	r.recent.changed(Event{Kind: EventStarted}, nil)
	r.log.Info("graph started", "stages", len(g.nodes), "islands", len(r.islands))
	for _, isl := range r.islands {
		if isl.nodes[0].kind != kindTask {
			r.pipes.Add(1)
		} else if r.idle == nil {
			r.idle = make(chan struct{})
		}
	}
	for _, isl := range r.islands {
		r.group.Go(func() { r.supervise(isl) })
	}
	var manager run.Group
	manager.Go(func() { r.manage(ctx) })
	observed(ctx, r)
	return r, nil
}

// supervise runs the lives of one island.
func (r *Running) supervise(isl *island) {
	over := sync.OnceFunc(func() {
		isl.done()
		close(isl.ended)
		if isl.nodes[0].kind != kindTask && r.pipes.Add(-1) == 0 && r.idle != nil {
			close(r.idle)
		}
	})
	defer over()
	st := r.stages[isl.nodes[0]]
	because := func(err error) error {
		return &StageError{Graph: r.graph.name, Stage: st.name, Restarts: isl.restarts, Err: err}
	}
	var last error // the error of an earlier life
	for {
		err := contained(isl.body, func() { st.fail(errGoexit) })
		if err == nil || r.hard.Err() != nil || isl.wanted != nil && !isl.wanted() {
			if last != nil && isl.neverOpened != nil && isl.neverOpened() {
				r.unclean(because(last))
			}
			return
		}
		last = err
		wait, ok := isl.failed(&r.graph.graphConfig)
		if !ok || IsPermanent(err) {
			r.fail(because(err))
			return
		}
		isl.restarts++
		for _, n := range isl.nodes {
			r.stages[n].restarts.Add(1)
		}
		r.log.Warn("stage failed, restarting its region", "stage", st.name, "restart", isl.restarts,
			"after", wait.Round(time.Millisecond).String(), "error", err)
		r.recent.changed(Event{Kind: EventRestart, Stage: st.name, Tries: isl.restarts, After: wait}, err)
		if hook := r.graph.hooks.Restarted; hook != nil {
			r.hook("Restarted", func() { hook(st.name, isl.restarts, err) })
		}
		if !passes(r.hard, wait) {
			return
		}
	}
}

// failed records a failure. It returns the wait before the restart, or false if there have been too
// many failures.
func (isl *island) failed(c *graphConfig) (time.Duration, bool) {
	now := time.Now()
	old := func(at time.Time) bool { return now.Sub(at) >= c.window }
	isl.failures = append(slices.DeleteFunc(isl.failures, old), now)
	return exponential(c.backoff, len(isl.failures)), len(isl.failures) <= c.restarts
}

// unclean records an error that does not stop the graph, but keeps its end from being clean.
func (r *Running) unclean(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

// fail stops the graph because of err.
func (r *Running) fail(err error) {
	r.mu.Lock()
	first := r.err == nil
	if first {
		r.err = err
	}
	r.mu.Unlock()
	if first {
		r.recent.changed(Event{Kind: EventStopping}, err)
		r.log.Error("graph stops", "error", err)
		r.stopHard(err)
	}
}

// manage waits for the end of the run and carries it out.
func (r *Running) manage(ctx context.Context) {
	defer close(r.done)
	defer r.stopHard(ErrStopped)
	select {
	case <-r.group.Done():
	case <-r.idle:
	case <-ctx.Done():
	case <-r.ending:
	case <-r.hard.Done():
	}
	asked := time.Now()
	ended := false
	select {
	case <-r.group.Done():
		ended = true
	default:
		r.state.Store(int32(Draining))
		if r.hard.Err() == nil { // else it stops
			r.recent.changed(Event{Kind: EventDraining}, nil)
		}
		r.log.Info("graph drains")
	}
	r.stopReading()
	for _, s := range r.sources {
		s.pause(false)
	}
	r.sweep()
	timedOut := false
	if !ended {
		timedOut = !r.waitIslands()
	}
	report := DrainReport{Graph: r.graph.name}
	if timedOut {
		report.Stuck = r.stuck()
		r.stopHard(ErrDrainTimeout)
	}
	r.mu.Lock()
	timedOut = timedOut || r.cut
	r.mu.Unlock()
	if r.hard.Err() != nil && !r.group.WaitFor(r.graph.killGrace) {
		report.Stuck = r.stuck()
	}
	r.settleRest(&report)
	report.Took = time.Since(asked)
	r.finish(report, timedOut)
}

func (r *Running) finish(report DrainReport, timedOut bool) {
	r.mu.Lock()
	r.report = report
	switch {
	case r.err != nil:
		r.result = r.err
	case timedOut || len(report.Stuck) > 0 || report.Uncommitted > 0:
		r.result = &DrainError{report}
	}
	result := r.result
	r.mu.Unlock()
	r.recent.changed(Event{Kind: EventEnded}, result)
	r.state.Store(int32(Ended))
	took := report.Took.Round(time.Millisecond)
	ended := []any{"settled", report.Settled, "released", report.Released, "took", took.String()}
	if result != nil {
		ended = append(ended, "error", result)
	}
	r.log.Info("graph ended", ended...)
}

// Graph returns the graph that runs.
func (r *Running) Graph() *Graph { return r.graph }

// Wait waits for the end and returns the same result as Run.
func (r *Running) Wait() error {
	<-r.done
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.result
}

// Done returns a channel that is closed at the end.
func (r *Running) Done() <-chan struct{} { return r.done }

// Report describes how the graph ended. It is empty before the end.
func (r *Running) Report() DrainReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.report
}

// State returns the current phase in the life of the graph.
func (r *Running) State() State { return State(r.state.Load()) }

// Drain ends the graph in order: the sources stop reading, holders and sinks flush,
// acknowledgements are sent. It waits for the end. When DrainTimeout is over or ctx is done,
// whichever is first, the graph is stopped and the error is a *DrainError. See DrainTimeout for how
// long that may take.
func (r *Running) Drain(ctx context.Context) (DrainReport, error) {
	r.end()
	select {
	case <-r.done:
	case <-ctx.Done():
		r.mu.Lock()
		r.cut = true
		r.mu.Unlock()
		r.stopHard(ErrDrainTimeout)
		<-r.done
	}
	return r.Report(), r.Wait()
}

// StartDrain requests the end of the graph, as Drain does, and returns at once. Wait returns the
// result.
func (r *Running) StartDrain() { r.end() }

// end requests the end of the graph.
func (r *Running) end() {
	wake(r.ending)
}

// Stop ends the graph now: the handlers' contexts are cancelled, and unfinished entries are given
// back to the sources. It waits for the end.
func (r *Running) Stop() error {
	r.stopHard(ErrStopped)
	<-r.done
	return r.Wait()
}

// Pause keeps the sources from starting a read until Resume. Messages already read continue, and so
// do those of a read in progress.
func (r *Running) Pause() { r.pause(true, Active, Paused, EventPaused) }

func (r *Running) pause(on bool, from, to State, kind EventKind) {
	if r.state.CompareAndSwap(int32(from), int32(to)) {
		for _, s := range r.sources {
			s.pause(on)
		}
		r.recent.changed(Event{Kind: kind}, nil)
		r.log.Info("graph " + string(kind))
	}
}

// Resume undoes Pause.
func (r *Running) Resume() { r.pause(false, Paused, Active, EventResumed) }

// hook calls a user's hook. A panic in it is logged and has no other consequence.
func (r *Running) hook(name string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			r.log.Error("hook panicked", "hook", name, "error", recovered(v))
		}
	}()
	f()
}
