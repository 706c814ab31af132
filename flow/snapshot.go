package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrNotReady is wrapped by the errors of Running.Ready.
var ErrNotReady = errors.New("flow: not ready")

// Prober is a Reader that can report whether its backend responds, for example by the time of the
// last response. Ready may be called at any time after Open and does no I/O. It returns nil or the
// problem.
type Prober interface {
	Ready() error
}

// Ready reports whether the graph works: it is active (or paused), all its sources are open, and
// none of them has lost its backend. Use it for a readiness probe. The error describes the problem
// and wraps ErrNotReady.
func (r *Running) Ready() error {
	if s := r.State(); s != Active && s != Paused {
		return fmt.Errorf("%w: graph %q is %v", ErrNotReady, r.graph.name, s)
	}
	var errs []error
	for _, s := range r.sources {
		if err := s.ready(); err != nil {
			errs = append(errs, fmt.Errorf("%w: graph %q, source %q: %w", ErrNotReady, r.graph.name, s.name, err))
		}
	}
	return errors.Join(errs...)
}

var errNotOpen = errors.New("not open yet")

// ready asks the source's newest Reader. A source that has ended is ready.
func (s *sourceRun) ready() error {
	if !s.opened.Load() {
		return errNotOpen
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sessions) == 0 {
		return nil
	}
	if p, ok := s.sessions[len(s.sessions)-1].reader.(Prober); ok {
		return p.Ready()
	}
	return nil
}

// Ready reports whether all graphs are ready, except those that have ended cleanly. It joins the
// errors of Running.Ready.
func (s *Supervisor) Ready() error {
	var errs []error
	for _, r := range s.all() {
		if r.State() == Ended && r.Wait() == nil {
			continue
		}
		errs = append(errs, r.Ready())
	}
	return errors.Join(errs...)
}

// Snapshot is the state of a running graph at one moment. Its numbers are counted per chunk, so in
// a busy graph they lag by a chunk. Each number is correct on its own, but they are not all from
// the same instant.
type Snapshot struct {
	Graph    string           `json:"graph"`
	State    State            `json:"state"`
	Uptime   time.Duration    `json:"uptime"`
	Sources  []SourceSnapshot `json:"sources"`
	Stages   []StageSnapshot  `json:"stages"`
	Edges    []EdgeSnapshot   `json:"edges"`
	Failure  string           `json:"failure,omitempty"`  // why the graph stopped by itself
	Draining []Stuck          `json:"draining,omitempty"` // during a drain: the stages that have not ended

	// Bottleneck is the stage to make faster first. It is nil until a stage has been measured.
	Bottleneck *Bottleneck `json:"bottleneck"`
}

// Bottleneck is the busiest stage of the busiest goroutine. Fused stages share a goroutine; a stage
// with Workers has its own goroutines. A wait for a retry is busy time here, because it delays
// other messages.
type Bottleneck struct {
	Stage  string  `json:"stage"`
	Share  float64 `json:"share"`  // share of the uptime that the stage was busy, 0 to 1; with Workers: the average
	Reason string  `json:"reason"` // a sentence
	// Stuck is how long a call of the stage has not returned, if that is why it is the bottleneck.
	Stuck time.Duration `json:"stuck,omitempty"`
}

// SourceSnapshot is the state of a source: its credits and settlements.
type SourceSnapshot struct {
	Name        string        `json:"name"`
	MaxInFlight int           `json:"max_in_flight"`
	ReadAhead   int           `json:"read_ahead"` // entries that may be in flight now, at the pace of the stages behind
	InFlight    int           `json:"in_flight"`  // entries read and not settled
	BytesFree   int           `json:"bytes_free"` // byte credits left
	Read        uint64        `json:"read"`       // entries read so far
	Settled     uint64        `json:"settled"`    // entries settled so far
	Acked       uint64        `json:"acked"`      // of the settled ones
	Dropped     uint64        `json:"dropped"`
	Dead        uint64        `json:"dead"`
	Nacked      uint64        `json:"nacked"`
	Lost        uint64        `json:"lost"`             // entries that lost their lease before they settled: see Leaser
	Oldest      time.Duration `json:"oldest"`           // time since the oldest unsettled entry was read
	Lag         int64         `json:"lag"`              // entries not read yet, by the backend's count; -1: unknown
	Pending     int64         `json:"pending"`          // entries read and not settled, by the backend's count; -1: unknown
	Paused      bool          `json:"paused,omitempty"` // or it waits for its turn: see InTurn
}

// StageSnapshot is the work of a stage so far. Busy is exact while messages are slow. While they
// are quick, only a sample is timed and Busy is an estimate. The time of a handler's call is added
// when it ends; the time of a sink's Write is added while it runs.
type StageSnapshot struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	In       uint64 `json:"in"`
	Out      uint64 `json:"out"`
	Faults   uint64 `json:"faults"`
	Retries  uint64 `json:"retries"`
	Dropped  uint64 `json:"dropped"`
	Nacked   uint64 `json:"nacked"`
	Dead     uint64 `json:"dead"`
	Restarts uint64 `json:"restarts"`
	Workers  int    `json:"workers"`
	// FaultKinds are the Faults by kind. A kind that has not occurred is missing.
	FaultKinds map[FaultKind]uint64 `json:"fault_kinds,omitempty"`
	// Counts are what its Reader or Writer counts, by name: see Counter.
	Counts map[string]uint64 `json:"counts,omitempty"`

	// Busy is how long the stage has worked, summed over its goroutines, including waits inside its
	// handler. Sources, and stages that have not been measured yet, have nil, which is null in
	// JSON.
	Busy *time.Duration `json:"busy"`
	// Blocked is how long the stage has waited for room on its outgoing edges. It is not part of
	// Busy.
	Blocked time.Duration `json:"blocked"`
	// Retrying is how long the stage's goroutines have waited for retries. It is not part of Busy.
	// Messages that wait while their goroutine continues, as in a stage with KeyedBy, do not count.
	Retrying time.Duration `json:"retrying"`
}

// EdgeSnapshot is the state of an edge. A full edge with senders that are often blocked leads to
// the bottleneck.
type EdgeSnapshot struct {
	From     string        `json:"from"`
	To       string        `json:"to"`
	Messages uint64        `json:"messages"` // messages sent so far
	Chunks   uint64        `json:"chunks"`
	Fill     int           `json:"fill"`    // chunks waiting now
	Size     int           `json:"size"`    // chunks it can hold
	Blocked  time.Duration `json:"blocked"` // total time senders waited for room
}

// Snapshot returns the current state of the graph. It asks the sources' backends for lag and
// pending, all at once, if they can report them, and waits for that until ctx is done. If ctx is
// already done, it does not ask.
func (r *Running) Snapshot(ctx context.Context) Snapshot {
	s := Snapshot{Graph: r.graph.name, State: r.State(), Uptime: time.Since(r.started)}
	if s.State == Draining {
		s.Draining = r.stuck()
	}
	r.mu.Lock()
	if r.err != nil {
		s.Failure = r.err.Error()
	}
	r.mu.Unlock()
	for _, src := range r.sources {
		s.Sources = append(s.Sources, src.snapshot())
	}
	if ctx.Err() == nil {
		var asked sync.WaitGroup
		for i, src := range r.sources {
			asked.Go(func() { src.meter(ctx, &s.Sources[i]) })
		}
		asked.Wait()
	}
	blocked := make(map[*node]time.Duration)
	for _, e := range r.edges {
		waited := e.blocked.sum()
		blocked[e.from] += waited
		s.Edges = append(s.Edges, EdgeSnapshot{
			From: r.stages[e.from].name, To: r.stages[e.to].name,
			Messages: e.messages.Load(), Chunks: e.chunks.Load(),
			Fill: e.fill(), Size: e.size, Blocked: waited,
		})
	}
	at := make(map[string]int, len(r.graph.nodes))
	for i, n := range r.graph.nodes {
		at[r.stages[n].name] = i
	}
	slices.SortStableFunc(s.Edges, func(a, b EdgeSnapshot) int {
		return cmp.Or(cmp.Compare(at[a.From], at[b.From]), cmp.Compare(at[a.To], at[b.To]))
	})
	busy, calls := r.measure()
	for _, n := range r.graph.nodes {
		st := r.stages[n]
		faults, kinds := st.faultCounts()
		s.Stages = append(s.Stages, StageSnapshot{
			Name: st.name, Kind: n.kind.String(), In: st.in.Load(), Out: st.out.Load(),
			Faults: faults, FaultKinds: kinds, Retries: st.retries.Load(), Dropped: st.ended[Dropped].Load(),
			Nacked: st.ended[Nacked].Load(), Dead: st.ended[Dead].Load(), Restarts: st.restarts.Load(),
			Busy: busy[st], Blocked: blocked[n], Retrying: st.retrying.sum(),
			Workers: n.workers, Counts: st.extra.sum(),
		})
	}
	s.Bottleneck = r.bottleneck(busy, calls, s.Uptime)
	return s
}

// measure returns how long the stages have worked, and the calls that have not returned. Stages
// that were not measured are missing.
func (r *Running) measure() (map[*stageRun]*time.Duration, []call) {
	w := work{busy: make(map[*stageRun]time.Duration)}
	all := make(map[*stageRun]*time.Duration, len(r.stages))
	r.lanes.mu.Lock() // a lane that ends moves its times to its stages
	defer r.lanes.mu.Unlock()
	for la := range r.lanes.alive {
		la.measure(&w)
	}
	for _, st := range r.stages {
		if st.measured.Load() {
			d := w.busy[st] + time.Duration(st.busy.Load()) + st.writes.sum()
			all[st] = &d
		}
	}
	return all, w.calls
}

// A stage is stuck in a call that takes longer than stuckAfter, and stuckTimes as long as its calls
// do on average.
const (
	stuckAfter = 10 * time.Second
	stuckTimes = 10
)

// stuckIn returns the longest call in which a stage is stuck. The zero call means that no stage is.
func stuckIn(busyOf map[*stageRun]*time.Duration, calls []call) (longest call) {
	for _, c := range calls {
		st := c.of[0]
		if busy := busyOf[st]; busy != nil && c.runs >= stuckAfter && c.runs > longest.runs {
			others := max(*busy-c.runs, 0) / time.Duration(max(st.in.Load(), 1))
			if st.node.kind == kindSink {
				others *= time.Duration(max(st.node.chunk, 1)) // one call takes up to a chunk of messages
			}
			if c.runs >= stuckTimes*others {
				longest = c
			}
		}
	}
	return longest
}

// bottleneck returns the busiest stage of the busiest goroutine.
func (r *Running) bottleneck(
	busyOf map[*stageRun]*time.Duration, calls []call, uptime time.Duration,
) *Bottleneck {
	heads := make(map[*node]bool)
	for _, isl := range r.islands {
		heads[isl.nodes[0]] = true
	}
	lane := make(map[*node]*node, len(r.graph.nodes)) // the first stage on the same goroutine
	for _, isl := range r.islands {
		first := isl.nodes[0]
		lane[first] = first
		for _, n := range isl.nodes[1:] {
			if heads[n] { // an island also lists the stages of the next island
				continue
			}
			if first.workers > 1 { // the stages behind workers have their own goroutine
				first = n
			}
			lane[n] = first
		}
	}
	stage, total := make(map[*node]time.Duration), make(map[*node]time.Duration)
	var worst *node
	for _, n := range r.graph.nodes {
		st := r.stages[n]
		if busy := busyOf[st]; busy != nil {
			stage[n] = (*busy + st.retrying.sum()) / time.Duration(n.workers)
			total[lane[n]] += stage[n]
			worst = n
		}
	}
	if worst == nil {
		return nil
	}
	for _, n := range r.graph.nodes {
		if cmp.Or(cmp.Compare(total[lane[n]], total[lane[worst]]), cmp.Compare(stage[n], stage[worst])) > 0 {
			worst = n
		}
	}
	stuck := stuckIn(busyOf, calls)
	if stuck.runs > 0 {
		worst = stuck.of[0].node
	}
	st, share := r.stages[worst], func(d time.Duration) float64 { return float64(d) / float64(max(uptime, 1)) }
	b := &Bottleneck{Stage: st.name, Share: share(stage[worst])}
	if stuck.runs > 0 {
		names := make([]string, len(stuck.of))
		for i, st := range stuck.of {
			names[i] = strconv.Quote(st.name)
		}
		b.Stuck = stuck.runs
		b.Reason = fmt.Sprintf("a call of %s has not returned for %v",
			strings.Join(names, " or "), stuck.runs.Round(time.Millisecond))
		return b
	}
	all := share(total[lane[worst]])
	if worst.workers > 1 {
		b.Reason = fmt.Sprintf("the %d workers of %q are busy %.0f%% of the time", worst.workers, st.name, 100*b.Share)
	} else {
		b.Reason = fmt.Sprintf("%q is busy %.0f%% of the time, and its goroutine %.0f%%", st.name, 100*b.Share, 100*all)
	}
	if all < limiting {
		b.Reason += ": no stage limits the graph"
	}
	return b
}

// limiting is the share of the time above which a goroutine may limit the graph.
const limiting = 0.5

func (s *sourceRun) snapshot() SourceSnapshot {
	s.mu.Lock()
	sn := SourceSnapshot{
		Name: s.name, MaxInFlight: s.node.maxInFlight, ReadAhead: s.pace.window,
		InFlight: s.node.maxInFlight - s.free, BytesFree: s.bytes,
		Paused: s.paused || s.early, Lag: -1, Pending: -1,
	}
	sessions := append([]*session(nil), s.sessions...)
	s.mu.Unlock()
	sn.Read, sn.Settled = s.in.Load(), s.settled.Load()
	sn.Acked, sn.Dropped = s.outcomes[Acked].Load(), s.outcomes[Dropped].Load()
	sn.Dead, sn.Nacked = s.outcomes[Dead].Load(), s.outcomes[Nacked].Load()+s.outcomes[Failed].Load()
	sn.Lost = s.lost.Load()
	for _, ses := range sessions {
		ses.mu.Lock()
		if len(ses.slabs) > 0 {
			sn.Oldest = max(sn.Oldest, time.Since(ses.slabs[0].since))
		}
		ses.mu.Unlock()
	}
	return sn
}

// meter asks the newest Reader for lag and pending.
func (s *sourceRun) meter(ctx context.Context, sn *SourceSnapshot) {
	s.mu.Lock()
	var newest any
	if n := len(s.sessions); n > 0 {
		newest = s.sessions[n-1].reader
	}
	s.mu.Unlock()
	if m, ok := newest.(Meter); ok {
		_ = guard(ctx, func(ctx context.Context) error {
			lag, pending, err := m.Meter(ctx)
			if err == nil {
				sn.Lag, sn.Pending = lag, pending
			}
			return err
		})
	}
}
