package faulttest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// pool holds the workers of a trial. Only the trial's goroutine calls its methods.
type pool struct {
	t    *trial
	job  job
	team []*worker // running workers; nil is an empty place
	gone []*worker // workers that ended
	died int       // how many ended by themselves
	most int       // how many there were at once

	mayEnd string // workers that end by themselves with this text behave correctly
	ended  int    // how many did so
}

// staff sets the number of workers to n.
func (p *pool) staff(n int) {
	for len(p.team) < n {
		p.team = append(p.team, p.t.hire(p.job))
	}
	p.most = max(p.most, n)
	for len(p.team) > n {
		p.fire(len(p.team)-1, false)
		p.team = p.team[:len(p.team)-1]
	}
}

// refill fills all empty places.
func (p *pool) refill() {
	for i, w := range p.team {
		if w == nil {
			p.team[i] = p.t.hire(p.job)
		}
	}
}

// present returns how many workers are running.
func (p *pool) present() (n int) {
	for _, w := range p.team {
		if w != nil {
			n++
		}
	}
	return n
}

// ready waits for the first word of every worker, which it writes when it is about to connect.
func (p *pool) ready() {
	for _, w := range p.team {
		p.t.must(w.ready(p.t.ctx))
	}
}

// ask asks a worker to end. One that is not ready has no group to leave.
func (p *pool) ask(w *worker) {
	w.wanted = true
	p.t.must(w.ready(p.t.ctx))
	p.t.must(w.signal(sigTerm))
}

// work waits until every worker has handled a message, or all messages are produced.
func (p *pool) work() {
	for _, w := range p.team {
		for w.last().Handled == 0 && !w.ended() && p.t.over.Err() == nil {
			p.t.must(sleep(p.t.ctx, 10*time.Millisecond))
		}
	}
}

// retire removes a worker that ended from the team.
func (p *pool) retire(i int) {
	w := p.team[i]
	p.gone = append(p.gone, w)
	p.team[i] = nil
}

// fire kills a worker, and starts another in its place if again is set.
func (p *pool) fire(i int, again bool) {
	w := p.team[i]
	w.wanted = true
	w.kill()
	p.retire(i)
	if again {
		p.team[i] = p.t.hire(p.job)
	}
}

// dismiss asks a worker to end and returns how long that took. A worker that does not end is killed
// and reported, and so is one that needs longer than it may.
func (p *pool) dismiss(i int, most time.Duration) time.Duration {
	w := p.team[i]
	p.ask(w)
	asked := time.Now()
	if !w.within(most + 30*time.Second) {
		w.kill()
	}
	took := time.Since(asked)
	p.retire(i)
	if most += p.t.busy(); took > most {
		p.t.find(kindDrain, "worker %d did not end within %v of SIGTERM", w.pid(), most)
	}
	if last := w.last(); last.Last && last.Err != "" {
		p.t.find(kindDrain, "worker %d: %s", w.pid(), last.Err)
	}
	return took
}

// dismissAll ends all workers at the same time, as a deployment does.
func (p *pool) dismissAll(most time.Duration) {
	for _, w := range p.team {
		if w != nil {
			p.ask(w)
		}
	}
	for i, w := range p.team {
		if w != nil {
			p.dismiss(i, most)
		}
	}
	p.team = nil
}

// watch reports workers that ended by themselves, and replaces them.
func (p *pool) watch() {
	for i, w := range p.team {
		if w == nil || w.wanted || !w.ended() {
			continue
		}
		p.retire(i)
		if p.mayEnd != "" && strings.Contains(w.why(), p.mayEnd) {
			p.ended++
			continue // replaced when the fault that stopped it is over
		}
		if p.died++; p.died <= 3 {
			p.t.find(kindExit, "worker %d ended by itself: %s", w.pid(), w.why())
		}
		if p.died > 20 {
			p.t.must(fmt.Errorf("workers end faster than they can be started: %s", w.why()))
		}
		p.team[i] = p.t.hire(p.job)
	}
}

func (p *pool) all() []*worker {
	return slices.DeleteFunc(slices.Concat(p.gone, p.team), func(w *worker) bool { return w == nil })
}

// events sums the events that all workers have reported so far.
func (p *pool) events() map[string]int {
	sum := make(map[string]int)
	for _, w := range p.all() {
		for kind, n := range w.last().Events {
			sum[kind] += n
		}
	}
	return sum
}

// killAll ends a trial, whatever its state.
func (p *pool) killAll() {
	for _, w := range p.team {
		if w != nil {
			w.kill()
		}
	}
}

// busiest returns the maxima of goroutines and memory over all workers. The report shows them.
func (p *pool) busiest() (most word) {
	for _, w := range p.all() {
		w.mu.Lock()
		most.raise(w.most)
		w.mu.Unlock()
	}
	return most
}

// The growth allowed after a worker has warmed up.
const (
	moreGoroutines = 32
	moreMemory     = 32 << 20
)

// flat reports workers with a growing number of goroutines or growing memory.
func (p *pool) flat() {
	for _, w := range p.all() {
		w.mu.Lock()
		base, most := w.first, w.since
		w.mu.Unlock()
		if base.Goroutines == 0 {
			continue // it did not run long enough
		}
		if most.Goroutines > base.Goroutines+moreGoroutines {
			p.t.find(
				kindLeak,
				"worker %d: %d goroutines, after %d when warm",
				w.pid(),
				most.Goroutines,
				base.Goroutines,
			)
		}
		if most.Resident > base.Resident+moreMemory && !raceEnabled {
			p.t.find(kindLeak, "worker %d: %d MiB, after %d when warm", w.pid(), most.Resident>>20, base.Resident>>20)
		}
	}
}

// describe formats the events for the report.
func describe(events map[string]int) string {
	parts := make([]string, 0, len(events))
	for _, kind := range slices.Sorted(maps.Keys(events)) {
		parts = append(parts, fmt.Sprintf("%s %d", kind, events[kind]))
	}
	return strings.Join(parts, ", ")
}
