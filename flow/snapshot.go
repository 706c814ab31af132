package flow

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Snapshot is what a running graph looks like at one moment. Its numbers are counted per chunk, so they lag a busy graph
// by a chunk, and each is right by itself rather than all of them at the same instant.
type Snapshot struct {
	Graph    string           `json:"graph"`
	State    State            `json:"state"`
	Uptime   time.Duration    `json:"uptime"`
	Sources  []SourceSnapshot `json:"sources"`
	Stages   []StageSnapshot  `json:"stages"`
	Edges    []EdgeSnapshot   `json:"edges"`
	Failure  string           `json:"failure,omitempty"`  // why it stopped by itself
	Draining []Stuck          `json:"draining,omitempty"` // while it drains: the stages that have not ended
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

// StageSnapshot is what a stage has done.
type StageSnapshot struct {
	Name     string        `json:"name"`
	Kind     string        `json:"kind"`
	In       uint64        `json:"in"`
	Out      uint64        `json:"out"`
	Faults   uint64        `json:"faults"`
	Retries  uint64        `json:"retries"`
	Dropped  uint64        `json:"dropped"`
	Nacked   uint64        `json:"nacked"`
	Dead     uint64        `json:"dead"`
	Restarts uint64        `json:"restarts"`
	Busy     time.Duration `json:"busy"` // of its island's goroutine, or of its workers together
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
	Blocked  time.Duration `json:"blocked"` // how long senders have waited for room
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
	busy := make(map[*node]time.Duration)
	for _, e := range r.edges {
		st := e.stats
		busy[st.to] += time.Duration(st.busy.Load())
		s.Edges = append(s.Edges, EdgeSnapshot{
			From: r.stages[st.from].name, To: r.stages[st.to].name,
			Messages: st.messages.Load(), Chunks: st.chunks.Load(),
			Fill: st.fill(), Size: st.size, Blocked: st.waited(),
		})
	}
	at := make(map[string]int, len(r.graph.nodes))
	for i, n := range r.graph.nodes {
		at[r.stages[n].name] = i
	}
	slices.SortStableFunc(s.Edges, func(a, b EdgeSnapshot) int {
		return cmp.Or(cmp.Compare(at[a.From], at[b.From]), cmp.Compare(at[a.To], at[b.To]))
	})
	for _, n := range r.graph.nodes {
		st := r.stages[n]
		s.Stages = append(s.Stages, StageSnapshot{
			Name: st.name, Kind: n.kind.String(), In: st.in.Load(), Out: st.out.Load(),
			Faults: st.faults.Load(), Retries: st.retries.Load(), Dropped: st.dropped.Load(),
			Nacked: st.nacked.Load(), Dead: st.dead.Load(), Restarts: st.restarts.Load(),
			Busy: busy[n] + time.Duration(st.busy.Load()),
		})
	}
	return s
}

func (s *sourceRun) snapshot(ctx context.Context) SourceSnapshot {
	s.mu.Lock()
	sn := SourceSnapshot{
		Name: s.st.name, MaxInFlight: s.node.maxInFlight, ReadAhead: s.pace.window, InFlight: s.node.maxInFlight - s.free, BytesFree: s.bytes,
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
