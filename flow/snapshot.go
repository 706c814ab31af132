package flow

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Snapshot is what a running graph looks like at one moment. Its numbers are counted per chunk, so
// they lag a busy graph by a chunk, and each is right by itself rather than all of them at the same
// instant.
type Snapshot struct {
	Graph    string           `json:"graph"`
	State    State            `json:"state"`
	Uptime   time.Duration    `json:"uptime"`
	Sources  []SourceSnapshot `json:"sources"`
	Stages   []StageSnapshot  `json:"stages"`
	Edges    []EdgeSnapshot   `json:"edges"`
	Failure  string           `json:"failure,omitempty"`  // why it stopped by itself
	Draining []Stuck          `json:"draining,omitempty"` // while it drains: the stages that have not ended

	// Bottleneck is the stage to make faster first. It is nil until a stage has been measured.
	Bottleneck *Bottleneck `json:"bottleneck"`
}

// Bottleneck is the busiest stage of the busiest goroutine. Stages that are fused share a goroutine; a stage with
// Workers has goroutines of its own. A wait for a retry is busy time here, because it holds up other messages.
//
// A stage that is stuck comes first: a call of its handler or Writer has not returned for 10 s, and for 10 times as
// long as its calls take on average. Reason then says so. It names several stages that share a goroutine if the call
// was not part of the sample: see StageSnapshot.
type Bottleneck struct {
	Stage  string  `json:"stage"`
	Share  float64 `json:"share"`  // of the graph's uptime that the stage was busy, 0 to 1; with Workers: on average
	Reason string  `json:"reason"` // a sentence
}

// SourceSnapshot is a source's credits and settlements.
type SourceSnapshot struct {
	Name        string        `json:"name"`
	MaxInFlight int           `json:"max_in_flight"`
	ReadAhead   int           `json:"read_ahead"` // how many may be in flight now, by the pace of the stages behind
	InFlight    int           `json:"in_flight"`  // entries read and not settled
	BytesFree   int           `json:"bytes_free"` // byte credits left
	Read        uint64        `json:"read"`       // entries read so far
	Settled     uint64        `json:"settled"`    // and settled
	Acked       uint64        `json:"acked"`      // of these
	Dropped     uint64        `json:"dropped"`
	Dead        uint64        `json:"dead"`
	Nacked      uint64        `json:"nacked"`
	Lost        uint64        `json:"lost"`    // entries whose lease was lost while they were in work: see Leaser
	Oldest      time.Duration `json:"oldest"`  // how long the oldest unsettled entry has been here
	Lag         int64         `json:"lag"`     // entries not read yet, by the backend's count; -1: unknown
	Pending     int64         `json:"pending"` // entries read and not settled, by the backend's count; -1: unknown
	Paused      bool          `json:"paused,omitempty"`
}

// StageSnapshot is what a stage has done. Busy is exact while messages are slow. While they are
// quick a sample of them is timed, and Busy is an estimate. A call that has not returned counts
// too. If it is not part of the sample, its time is divided among the stages that share its
// goroutine, in proportion to their samples.
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

	// Busy is how long the stage has worked, on all its goroutines together, waits inside its handler included. It is
	// nil, and null in JSON, for a source and for a stage that has not been measured yet.
	Busy *time.Duration `json:"busy"`
	// Blocked is how long the stage has waited for room on its outgoing edges. It is not part of Busy.
	Blocked time.Duration `json:"blocked"`
	// Retrying is how long the stage's goroutines have waited for retries. It is not part of Busy. A message that
	// waits while its goroutine goes on, as those of a stage with KeyedBy do, does not count.
	Retrying time.Duration `json:"retrying"`
}

// EdgeSnapshot is what an edge carries. An edge that is full, and whose senders are blocked much, leads to the
// bottleneck.
type EdgeSnapshot struct {
	From     string        `json:"from"`
	To       string        `json:"to"`
	Messages uint64        `json:"messages"` // that went through
	Chunks   uint64        `json:"chunks"`
	Fill     int           `json:"fill"`    // chunks waiting now
	Size     int           `json:"size"`    // chunks it takes
	Blocked  time.Duration `json:"blocked"` // how long senders have waited for room, all together
}

// Snapshot returns what the graph looks like now. It asks the sources' backends for lag and pending, where they can
// tell, and waits for that no longer than ctx; with a ctx that is done already it does not ask.
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
		s.Sources = append(s.Sources, src.snapshot(ctx))
	}
	blocked := make(map[*node]time.Duration)
	for _, e := range r.edges {
		st := e.stats
		waited := st.blocked.sum()
		blocked[st.from] += waited
		s.Edges = append(s.Edges, EdgeSnapshot{
			From: r.stages[st.from].name, To: r.stages[st.to].name,
			Messages: st.messages.Load(), Chunks: st.chunks.Load(),
			Fill: st.fill(), Size: st.size, Blocked: waited,
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
		s.Stages = append(s.Stages, StageSnapshot{
			Name: st.name, Kind: n.kind.String(), In: st.in.Load(), Out: st.out.Load(),
			Faults: st.faults.Load(), Retries: st.retries.Load(), Dropped: st.dropped.Load(),
			Nacked: st.nacked.Load(), Dead: st.dead.Load(), Restarts: st.restarts.Load(),
			Busy: busy[st], Blocked: blocked[n], Retrying: st.retrying.sum(),
		})
	}
	s.Bottleneck = r.bottleneck(busy, calls, s.Uptime)
	return s
}

// measure returns how long the stages have worked, and the calls that have not returned. Stages that were not measured
// are missing.
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

// A stage is stuck in a call that takes longer than stuckAfter, and stuckTimes as long as its calls do on average.
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
				others *= time.Duration(max(st.node.chunk, 1)) // it takes as many messages in a call
			}
			if c.runs >= stuckTimes*others {
				longest = c
			}
		}
	}
	return longest
}

// bottleneck finds the stage that is stuck in a call. Without one it finds the busiest goroutine, and on it the busiest
// stage.
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
			if heads[n] { // an island names the next one, too
				continue
			}
			if first.workers > 1 { // what is behind workers has a goroutine of its own
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

// limiting is the share of the time from which on a goroutine may limit the graph.
const limiting = 0.5

func (s *sourceRun) snapshot(ctx context.Context) SourceSnapshot {
	s.mu.Lock()
	sn := SourceSnapshot{
		Name: s.st.name, MaxInFlight: s.node.maxInFlight, ReadAhead: s.pace.window,
		InFlight: s.node.maxInFlight - s.free, BytesFree: s.bytes,
		Paused: s.paused, Lag: -1, Pending: -1,
	}
	sessions := append([]*session(nil), s.sessions...)
	s.mu.Unlock()
	sn.Read, sn.Settled = s.st.in.Load(), s.settled.Load()
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
	if len(sessions) == 0 || ctx.Err() != nil {
		return sn
	}
	if m, ok := sessions[len(sessions)-1].reader.(Meter); ok {
		if lag, pending, err := m.Meter(ctx); err == nil {
			sn.Lag, sn.Pending = lag, pending
		}
	}
	return sn
}
