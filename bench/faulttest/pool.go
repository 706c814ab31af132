package faulttest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// worker is one worker process, from its start to its end.
type worker struct {
	*process
	heard  chan struct{} // closed when its words have been read to the end
	spoken chan struct{} // closed with its first word
	wanted bool          // its end: we killed it, or asked it to end

	mu    sync.Mutex
	now   word
	most  word // the highest of goroutines, memory and entries in flight
	first word // once it had warmed up
	since word // the highest since then
}

// warm is how long a worker has before its memory and goroutines are the base to compare with.
const warm = 1500 * time.Millisecond

// hire starts a worker process.
func hire(j job) (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), j.encode())
	out, words, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = words
	p, err := launch(cmd)
	_ = words.Close() // the child has it
	if err != nil {
		_ = out.Close()
		return nil, err
	}
	w := &worker{process: p, heard: make(chan struct{}), spoken: make(chan struct{})}
	go func() { // ends with the process, or with the pipe
		defer close(w.heard)
		defer out.Close()
		w.listen(out)
	}()
	return w, nil
}

func (w *worker) listen(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 0; lines.Scan(); n++ {
		var said word
		if json.Unmarshal(lines.Bytes(), &said) != nil {
			continue // cut off by a kill
		}
		if n == 0 {
			close(w.spoken)
		}
		w.mu.Lock()
		if w.first.Goroutines == 0 && time.Since(w.began) > warm {
			w.first = said
		}
		w.now = said
		w.most.raise(said)
		if w.first.Goroutines > 0 {
			w.since.raise(said)
		}
		w.mu.Unlock()
	}
}

// raise makes each the higher of the two.
func (most *word) raise(said word) {
	most.Goroutines = max(most.Goroutines, said.Goroutines)
	most.Resident = max(most.Resident, said.Resident)
	most.InFlight = max(most.InFlight, said.InFlight)
}

// last is what it said last. After its end that is all it ever will.
func (w *worker) last() word {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *worker) pid() int { return w.cmd.Process.Pid }

// pool is the workers of a trial. Its methods are called by the trial's goroutine only.
type pool struct {
	t    *trial
	job  job
	team []*worker // those at work; nil is one on leave
	gone []*worker // and those that ended
	died int       // by themselves

	mayEnd string // a worker that ends by itself and says this does what it should
	ended  int    // how many did
}

// staff makes the team n workers strong.
func (p *pool) staff(n int) {
	for len(p.team) < n {
		p.team = append(p.team, p.t.hire(p.job))
	}
	for len(p.team) > n {
		p.fire(len(p.team)-1, false)
		p.team = p.team[:len(p.team)-1]
	}
}

func (t *trial) hire(j job) *worker {
	w, err := hire(j)
	t.must(err)
	return w
}

// refill fills all empty places.
func (p *pool) refill() {
	for i, w := range p.team {
		if w == nil {
			p.team[i] = p.t.hire(p.job)
		}
	}
}

// present is how many are at work.
func (p *pool) present() (n int) {
	for _, w := range p.team {
		if w != nil {
			n++
		}
	}
	return n
}

// ready waits until all have said something: they are connected, or as good as.
func (p *pool) ready() {
	for _, w := range p.team {
		select {
		case <-w.spoken:
		case <-w.done:
		case <-p.t.ctx.Done():
			p.t.must(context.Cause(p.t.ctx))
		}
	}
}

// retire takes a worker that ended out of the team.
func (p *pool) retire(i int) {
	w := p.team[i]
	<-w.done
	<-w.heard
	p.gone = append(p.gone, w)
	p.team[i] = nil
}

// fire kills a worker, and hires another if its place is to be filled.
func (p *pool) fire(i int, again bool) {
	w := p.team[i]
	w.wanted = true
	w.kill()
	p.retire(i)
	if again {
		p.team[i] = p.t.hire(p.job)
	}
}

// dismiss asks a worker to end, and reports how long that took. One that does not is killed, and a finding.
func (p *pool) dismiss(i int, patience time.Duration) time.Duration {
	w := p.team[i]
	w.wanted = true
	asked := time.Now()
	p.t.must(w.terminate())
	if !w.within(patience) {
		p.t.find(kindDrain, "worker %d did not end within %v of SIGTERM", w.pid(), patience)
		w.kill()
	}
	took := time.Since(asked)
	p.retire(i)
	if last := w.last(); last.Last && last.Err != "" {
		p.t.find(kindDrain, "worker %d: %s", w.pid(), last.Err)
	}
	return took
}

// dismissAll ends the team as a deployment does: all at the same time.
func (p *pool) dismissAll(patience time.Duration) {
	for _, w := range p.team {
		if w != nil {
			w.wanted = true
			p.t.must(w.terminate())
		}
	}
	for i, w := range p.team {
		if w != nil {
			p.dismiss(i, patience)
		}
	}
	p.team = nil
}

// watch looks for workers that ended by themselves, reports them and fills their places.
func (p *pool) watch() {
	for i, w := range p.team {
		if w == nil || w.wanted || !w.ended() {
			continue
		}
		p.retire(i)
		if p.mayEnd != "" && strings.Contains(w.why(), p.mayEnd) {
			p.ended++
			continue // its place is filled when what stopped it is over
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

// why a worker ended, in its own words.
func (w *worker) why() string {
	if err := w.last().Err; err != "" {
		return err
	}
	lines := strings.Split(strings.TrimSpace(w.out.text()), "\n")
	return fmt.Sprintf("%v: %s", w.cmd.ProcessState, strings.Join(lines[max(0, len(lines)-8):], "\n"))
}

func (p *pool) all() []*worker {
	return slices.DeleteFunc(slices.Concat(p.gone, p.team), func(w *worker) bool { return w == nil })
}

// events sums up what all workers noticed, so far.
func (p *pool) events() map[string]int {
	sum := make(map[string]int)
	for _, w := range p.all() {
		for kind, n := range w.last().Events {
			sum[kind] += n
		}
	}
	return sum
}

// killAll is for the end of a trial, whatever became of it.
func (p *pool) killAll() {
	for _, w := range p.team {
		if w != nil {
			w.kill()
			<-w.heard
		}
	}
}

// busiest is the worker on duty with the most goroutines and memory, for the report.
func (p *pool) busiest() (most word) {
	for _, w := range p.all() {
		w.mu.Lock()
		most.raise(w.most)
		w.mu.Unlock()
	}
	return most
}

// The growth that a worker is allowed once it is warm.
const (
	moreGoroutines = 32
	moreMemory     = 32 << 20
)

// flat finds workers whose goroutines or memory grew.
func (p *pool) flat() {
	for _, w := range p.all() {
		w.mu.Lock()
		base, most := w.first, w.since
		w.mu.Unlock()
		if base.Goroutines == 0 {
			continue // it did not live long enough
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

// describe is the events as text, for the report's details.
func describe(events map[string]int) string {
	parts := make([]string, 0, len(events))
	for _, kind := range slices.Sorted(maps.Keys(events)) {
		parts = append(parts, fmt.Sprintf("%s %d", kind, events[kind]))
	}
	return strings.Join(parts, ", ")
}
