package flow

import (
	"sync"
	"time"
)

// Idea of measuring: reading the clock around each call of a fused stage would cost more than many a stage does. So a
// lane reads it around the calls of a sample: the first messages of some chunks, each message while messages are slow,
// and what happens at alarms and at the end. A sampled call counts as measured. The rest of the lane's time is
// divided among its stages in proportion to their samples. Three times are kept apart: waiting for input, waiting for
// room on an edge, and waiting to retry. A sink's writes are always measured.

// meter measures how long each stage of a lane works. Owned by the lane's goroutine.
type meter struct {
	sampling bool
	at       *stageBase // while sampling: the stage at work; nil: none of them
	mark     time.Time  // while sampling: at has worked since then
	since    time.Time  // the time since then, up to now, is not attributed to a stage yet
	chunks   uint
}

const (
	sampleEvery = 16 // chunks
	sampleSize  = 4  // messages at the most
)

// works notes that the lane begins to work for the stage. Each stage calls it with each message.
func (s *stageBase) works() {
	if s.la.sampling {
		s.la.turnTo(s)
	}
}

func (la *lane) turnTo(s *stageBase) {
	la.charge(time.Now())
	la.at = s
	s.seen = true
}

// charge attributes the time up to now to the stage at work. The lane is sampling.
func (la *lane) charge(now time.Time) {
	if s := la.at; s != nil {
		d := now.Sub(la.mark)
		s.spent += d
		s.weight += d
		la.since = la.since.Add(d)
	}
	la.mark = now
}

// except takes out time that has just passed and is no stage's work, or is counted elsewhere.
func (la *lane) except(d time.Duration) {
	la.mark = la.mark.Add(d)
	la.since = la.since.Add(d)
}

// sample begins or ends sampling.
func (la *lane) sample(on bool, now time.Time) {
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
	la.steps, la.looked = 0, 0
	if la.chunks%sampleEvery == 0 {
		for _, s := range la.stages {
			s.weight /= 2 // old samples count less and less
		}
		la.sample(true, time.Now())
	}
	la.chunks++
}

// account divides the time up to now among the stages, and shows it to snapshots.
func (la *lane) account(now time.Time) {
	if la.sampling {
		la.charge(now)
	}
	var total time.Duration
	for _, s := range la.stages {
		total += s.weight
	}
	rest := max(now.Sub(la.since), 0)
	switch {
	case len(la.stages) == 1:
		la.stages[0].spent += rest
		la.since = la.since.Add(rest)
	case total > 0: // else it waits for a sample
		for _, s := range la.stages {
			s.spent += time.Duration(float64(rest) * float64(s.weight) / float64(total))
		}
		la.since = la.since.Add(rest)
	}
	for _, s := range la.stages {
		if s.seen {
			s.st.measured.Store(true)
			s.st.busy.Add(int64(s.spent))
			s.spent = 0
		}
	}
}

// waits adds up how long goroutines have waited, those included that still wait. Called by any goroutine.
type waits struct {
	mu    sync.Mutex
	total time.Duration // up to at
	at    time.Time
	now   int // goroutines that wait
}

// begin is called before a wait; end wants what it returns.
func (w *waits) begin() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advance()
	w.now++
	return w.at
}

// end is called after a wait. It returns how long that was.
func (w *waits) end(began time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advance()
	w.now--
	return w.at.Sub(began)
}

// add adds a wait that is over.
func (w *waits) add(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total += d
}

// sum returns how long the waits were together.
func (w *waits) sum() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advance()
	return w.total
}

// advance adds the waits up to now. The caller has mu.
func (w *waits) advance() {
	now := time.Now()
	if w.now > 0 {
		w.total += time.Duration(w.now) * now.Sub(w.at)
	}
	w.at = now
}
