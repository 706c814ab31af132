package flow

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"
)

// Idea of measuring: reading the clock around each call of a fused stage would cost more than most
// stages do. So a lane reads it only around sampled calls: the first messages of some chunks, each
// message while messages are slow, and calls at alarms and at the end. The time of a sampled call
// is used as measured. The rest of the lane's time is divided among its stages in proportion to
// their samples. Three times are separate: waiting for input, waiting for room on an edge, and
// waiting to retry. A sink's writes are always measured.
//
// A call that has not returned counts too. A snapshot adds the time since the last update of the
// meter, in the same way as the lane would add it now.

// meter measures how long each stage of a lane works. The lane's goroutine writes it while holding
// mu, and reads it without. Snapshots read it while holding mu. The same holds for the stages' busy
// and weight.
type meter struct {
	mu       sync.Mutex
	sampling bool
	waiting  bool       // the lane waits: the time is no stage's work, or counted elsewhere
	idle     bool       // the lane waits for its input
	halted   time.Time  // start of the wait
	writer   *stageBase // the sink that the lane waits for while it writes; nil: another wait
	at       *stageBase // while sampling: the working stage; nil: none
	mark     time.Time  // while sampling: start of the work of at
	since    time.Time  // start of the time not attributed to a stage yet
	chunks   uint       // owned by the lane's goroutine
}

const (
	sampleEvery = 16 // chunks
	sampleSize  = 4  // messages at most
)

// works records that the lane begins to work for the stage. Each stage calls it with each message.
func (s *stageBase) works() {
	if s.la.sampling {
		s.la.turnTo(s)
	}
}

func (la *lane) turnTo(s *stageBase) {
	if s.gauge != nil {
		s = s.gauge
	}
	now := time.Now()
	la.meter.mu.Lock()
	la.charge(now)
	la.at = s
	la.meter.mu.Unlock()
	if !s.seen {
		s.seen = true
		s.st.measured.Store(true)
	}
}

// charge attributes the time up to now to the working stage. The lane is sampling. The caller holds
// mu.
func (la *lane) charge(now time.Time) {
	if s := la.at; s != nil {
		d := now.Sub(la.mark)
		s.busy += d
		s.weight += d
		la.since = la.since.Add(d)
	}
	la.mark = now
}

// begin starts the meter of a lane.
func (la *lane) begin(now time.Time) {
	la.meter.mu.Lock()
	defer la.meter.mu.Unlock()
	la.since, la.mark, la.waiting = now, now, false
}

// halt is called before the lane waits, with the time at which the wait begins. except is called
// after the wait.
func (la *lane) halt(now time.Time) { la.haltFor(nil, false, now) }

// haltFor is halt before a write of a sink, or before the lane waits for its input.
func (la *lane) haltFor(s *stageBase, idle bool, now time.Time) {
	la.meter.mu.Lock()
	la.waiting, la.halted, la.writer, la.idle = true, now, s, idle
	la.meter.mu.Unlock()
}

// except excludes time that has just passed, because it is not a stage's work or is counted
// elsewhere.
func (la *lane) except(d time.Duration) {
	la.meter.mu.Lock()
	la.mark = la.mark.Add(d)
	la.since = la.since.Add(d)
	la.waiting, la.writer, la.idle = false, nil, false
	la.meter.mu.Unlock()
}

// isIdle reports whether the lane waits for its input. Any goroutine may call it.
func (la *lane) isIdle() bool {
	la.meter.mu.Lock()
	defer la.meter.mu.Unlock()
	return la.idle
}

// writes reports whether a sink of the lane writes.
func (la *lane) writes() bool {
	la.meter.mu.Lock()
	defer la.meter.mu.Unlock()
	return la.writer != nil
}

// sample begins or ends sampling.
func (la *lane) sample(on bool, now time.Time) {
	if !on && !la.sampling {
		return
	}
	la.meter.mu.Lock()
	defer la.meter.mu.Unlock()
	switch {
	case la.sampling:
		la.charge(now)
	case on:
		la.at, la.mark = nil, now
	}
	la.sampling = on
}

// beginChunk is called before the first message of a chunk.
func (la *lane) beginChunk() {
	if la.chunks%sampleEvery == 0 {
		la.meter.mu.Lock()
		for _, s := range la.stages {
			s.weight /= 2 // old samples lose weight
		}
		la.meter.mu.Unlock()
		la.sample(true, time.Now())
	}
	la.chunks++
}

// account divides the time up to now among the stages.
func (la *lane) account(now time.Time) {
	la.meter.mu.Lock()
	defer la.meter.mu.Unlock()
	if la.waiting {
		return
	}
	if la.sampling {
		la.charge(now)
	}
	if rest := max(now.Sub(la.since), 0); la.divide(rest, func(s *stageBase, d time.Duration) { s.busy += d }) {
		la.since = la.since.Add(rest)
	}
}

// divide divides unattributed time among the stages. It reports false if there is no sample yet.
// The caller holds mu.
func (la *lane) divide(rest time.Duration, add func(*stageBase, time.Duration)) bool {
	if len(la.stages) == 1 {
		add(la.stages[0], rest)
		return true
	}
	var total time.Duration
	for _, s := range la.stages {
		total += s.weight
	}
	if total == 0 {
		return false
	}
	for _, s := range la.stages {
		add(s, time.Duration(float64(rest)*float64(s.weight)/float64(total)))
	}
	return true
}

// work is the work of a run's live lanes.
type work struct {
	busy  map[*stageRun]time.Duration // including calls that have not returned
	calls []call
}

// call is a call that has not returned.
type call struct {
	of   []*stageRun // one of these; the first is the most likely
	runs time.Duration
}

// measure adds the work of the lane. Any goroutine may call it.
func (la *lane) measure(w *work) {
	la.meter.mu.Lock()
	defer la.meter.mu.Unlock()
	for _, s := range la.stages {
		w.busy[s.st] += s.busy
	}
	now := time.Now()
	if la.waiting {
		if la.writer != nil {
			w.calls = append(w.calls, call{[]*stageRun{la.writer.st}, now.Sub(la.halted)})
		}
		now = la.halted
	}
	switch s := la.at; {
	case la.sampling && s != nil:
		w.busy[s.st] += now.Sub(la.mark)
		if !la.waiting {
			w.calls = append(w.calls, call{[]*stageRun{s.st}, now.Sub(la.mark)})
		}
		now = la.mark
	case !la.waiting && len(la.stages) > 0:
		w.calls = append(w.calls, call{la.byWeight(), now.Sub(la.since)})
	}
	la.divide(max(now.Sub(la.since), 0), func(s *stageBase, d time.Duration) { w.busy[s.st] += d })
}

// byWeight returns the lane's stages, the busiest first. The caller holds mu.
func (la *lane) byWeight() []*stageRun {
	sorted := slices.SortedStableFunc(slices.Values(la.stages), func(a, b *stageBase) int {
		return cmp.Compare(b.weight, a.weight)
	})
	runs := make([]*stageRun, len(sorted))
	for i, s := range sorted {
		runs[i] = s.st
	}
	return runs
}

// waits sums how long goroutines have waited, including current waits. Any goroutine may use it.
type waits struct {
	mu    sync.Mutex
	total time.Duration // until at
	at    time.Time
	now   int // goroutines that wait now
}

// begin is called before a wait. Pass its result to end.
func (w *waits) begin() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advance()
	w.now++
	return w.at
}

// end is called after a wait and returns its duration.
func (w *waits) end(began time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advance()
	w.now--
	return w.at.Sub(began)
}

// add adds a finished wait.
func (w *waits) add(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total += d
}

// sum returns the total duration of the waits.
func (w *waits) sum() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advance()
	return w.total
}

// advance adds the waits up to now. The caller holds mu.
func (w *waits) advance() {
	now := time.Now()
	if w.now > 0 {
		w.total += time.Duration(w.now) * now.Sub(w.at)
	}
	w.at = now
}

// Counter is a Reader or Writer that counts what only it knows, such as reconnects. It must be a
// pointer. StageSnapshot.Counts has the sums of all lives and workers of a stage.
type Counter interface {
	// Counts calls add with each of its counts. The names are fixed and few, in snake case, such as
	// "late_acks". A count never goes down. Counts does no I/O. It may be called at any time after
	// Open, by any goroutine.
	Counts(add func(name string, n uint64))
}

// counters are the Counters of a stage.
type counters struct {
	mu    sync.Mutex
	alive []Counter
	ended map[string]uint64 // the sums of those that have ended
}

// begin adds an endpoint that has been opened, if it is a Counter.
func (c *counters) begin(endpoint any) {
	if one := counterOf(endpoint); one != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.alive = append(c.alive, one)
	}
}

// counterOf returns the Counter that an endpoint is, or nil.
func counterOf(endpoint any) Counter {
	if one, ok := endpoint.(Counter); ok && reflect.ValueOf(endpoint).Comparable() {
		return one
	}
	return nil
}

// end keeps the counts of an endpoint that has been closed.
func (c *counters) end(endpoint any) {
	one := counterOf(endpoint)
	if one == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := slices.Index(c.alive, one)
	if at < 0 {
		return // it was not opened
	}
	c.alive = slices.Delete(c.alive, at, at+1)
	if c.ended == nil {
		c.ended = make(map[string]uint64)
	}
	addCounts(c.ended, one)
}

// sum returns the counts of all endpoints; nil without an endpoint that counts.
func (c *counters) sum() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.alive) == 0 && c.ended == nil {
		return nil
	}
	all := make(map[string]uint64)
	maps.Copy(all, c.ended)
	for _, one := range c.alive {
		addCounts(all, one)
	}
	return all
}

// addCounts adds the counts of a Counter. A panic of it leaves the rest out.
func addCounts(to map[string]uint64, of Counter) {
	_ = guard(context.Background(), func(context.Context) error {
		of.Counts(func(name string, n uint64) { to[name] += n })
		return nil
	})
}
