package faulttest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// trial is one run of a scenario.
type trial struct {
	scenario *Scenario
	o        Options
	ctx      context.Context
	dir      string
	rng      *rand.Rand // for the schedule of faults; owned by the trial's goroutine
	n        int
	rate     int

	in, out redis.UniversalClient // the harness' own, which bypass all proxies
	job     job                   // the workers' default configuration
	pool    *pool
	cleanup []func()

	here, there machine // delays of the harness, and of the server

	traffic
	expected
	record
}

// traffic is what a trial produces, and how far it got.
type traffic struct {
	prod      *producer
	prog      *progress
	over      context.Context          // ends when all messages are produced
	injecting atomic.Bool              // chaos goes on
	following atomic.Pointer[progress] // prog, for other goroutines
}

// expected is what the faults of a scenario explain, and which promises it tests. Owned by the
// trial's goroutine.
type expected struct {
	needs     map[string]int // faults without which the trial is void; see producer.early
	allowed   int            // duplicates
	ordered   bool           // each key's order is promised
	surviving bool           // the server may lose input; only entries that remain count
	republish bool           // the streams do not show that messages were produced repeatedly
	excused   map[int]bool   // messages that other clients deleted; exactly these may be missing
	letters   bool           // poison was produced; each poisoned message is one dead letter
	outage    time.Duration  // the longest time for which the trial prevented progress
}

// record is what happened in a trial.
type record struct {
	mu       sync.Mutex // guards the rest
	faults   map[string]int
	findings []Finding
	sum      tally
	notes    []string
	skipped  string
}

// must ends a trial that cannot continue, as testing.T.Fatal ends a test.
func (t *trial) must(err error) {
	if err != nil {
		t.find(kindAborted, "%v", err)
		runtime.Goexit()
	}
}

// newTrial draws all random values from the seed and the scenario's name.
func newTrial(ctx context.Context, s *Scenario, o Options) (*trial, error) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.ID)) // never fails
	dir, err := os.MkdirTemp("", "faults-"+s.ID+"-")
	if err != nil {
		return nil, err
	}
	t := &trial{
		scenario: s,
		o:        o,
		ctx:      ctx,
		dir:      dir,
		rng:      rand.New(rand.NewPCG(o.Seed, h.Sum64())),
		n:        s.messages(o),
		rate:     s.rate(o),
		expected: expected{needs: make(map[string]int), excused: make(map[int]bool)},
		record:   record{faults: make(map[string]int)},
	}
	t.job = job{
		streams:   streams{Input: "{faults}:in", Output: "{faults}:out", Group: "work"},
		behaviour: behaviour{Work: 20 * time.Millisecond},
		Lease:     1500 * time.Millisecond,
		Block:     100 * time.Millisecond,
		Drain:     20 * time.Second, // see drainPromise
		InFlight:  64,
		Workers:   8,
		Seed:      o.Seed,
		Variant:   o.Variant,
	}
	if o.Long { // five times the rate
		t.job.InFlight, t.job.Workers = 256, 32
	}
	t.pool = &pool{t: t}
	return t, nil
}

// run runs the whole trial. It leaves no process, and no folder unless requested.
func (t *trial) run() (r Result) {
	began := time.Now()
	measuring, stop := context.WithCancel(t.ctx)
	var measured sync.WaitGroup
	measured.Go(func() { t.here.measure(measuring) })
	defer measured.Wait()
	defer stop()
	var running sync.WaitGroup
	running.Go(func() {
		defer func() {
			if v := recover(); v != nil {
				t.find(kindAborted, "panic: %v\n%s", v, debug.Stack())
			}
		}()
		t.scenario.run(t)
	})
	running.Wait()
	r = t.result()
	r.Took = time.Since(began)
	t.keep()
	t.pool.killAll()
	for _, f := range slices.Backward(t.cleanup) {
		f()
	}
	return r
}

// keep keeps the folder and the workers' output if requested.
func (t *trial) keep() {
	if !t.o.Keep {
		t.cleanup = slices.Insert(t.cleanup, 0, func() { _ = os.RemoveAll(t.dir) }) // a temporary folder: removed last
		return
	}
	for _, w := range t.pool.all() {
		_ = os.WriteFile(
			filepath.Join(t.dir, fmt.Sprintf("worker-%d.log", w.pid())),
			[]byte(w.errors.text()),
			0o644,
		) // if a reader connects
	}
	if t.in != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = t.in.Save(ctx).Err() // likewise
	}
	t.o.logf("%s: kept %s", t.scenario.ID, t.dir)
}

// atEnd registers a function to run at the trial's end.
func (t *trial) atEnd(f func()) { t.cleanup = append(t.cleanup, f) }

// fault counts injected faults.
func (t *trial) fault(kind string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults[kind] += n
}

// lacks reports whether one of the needed faults was injected too rarely.
func (t *trial) lacks(needs map[string]int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for kind, n := range needs {
		if t.faults[kind] < n {
			return true
		}
	}
	return false
}

func (t *trial) did(kind string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.faults[kind]
}

func (t *trial) note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// allow records duplicates that a fault explains.
func (t *trial) allow(n int) { t.allowed += n }

// stallAllowed returns the longest promised time without progress. Entries of a dead reader wait
// for their lease and for the next search, which runs every half lease. An outage is followed by a
// backoff that grows with it, to at most half the outage's duration again, including jitter. The
// rest allows for a busy machine.
func (t *trial) stallAllowed() time.Duration {
	d := t.job.Lease*16/10 + t.outage*5/2 + 1500*time.Millisecond
	if t.job.Slow.Of > 0 {
		d += t.job.Slow.For
	}
	if t.job.Fails+t.job.Panic > 0 || t.letters {
		d += t.job.NackAfter + 2*t.job.Timeout
	}
	if raceEnabled {
		d += 3 * time.Second
	}
	return d + t.busy()
}

// groupState is the number of unread and pending entries.
type groupState struct{ unread, pending int64 }

func (t *trial) state() (groupState, error) {
	last, err := t.in.XRevRangeN(t.ctx, t.job.Input, "+", "-", 1).Result()
	if err != nil {
		return groupState{}, err
	}
	groups, err := t.in.XInfoGroups(t.ctx, t.job.Input).Result()
	if err != nil {
		return groupState{}, err
	}
	for _, g := range groups {
		if g.Name != t.job.Group {
			continue
		}
		s := groupState{pending: g.Pending}
		if len(last) > 0 && before(g.LastDeliveredID, last[0].ID) {
			s.unread = 1
		}
		return s, nil
	}
	return groupState{}, errors.New("the group does not exist")
}

// settle waits until every produced message is settled, or progress stops.
func (t *trial) settle() {
	follow, unfollow := context.WithCancel(t.ctx)
	var following sync.WaitGroup
	following.Go(func() { t.prog.follow(follow) })
	defer following.Wait()
	defer unfollow()
	patience := t.stallAllowed() + 3*time.Second
	if !t.broken() {
		patience += 10 * time.Second // a longer stall is a finding anyway, see result
	}
	still, looked, was, done := time.Duration(0), time.Now(), "", time.Time{}
	for {
		still += min(time.Since(looked), 250*time.Millisecond) // this process may be late
		looked = time.Now()
		t.pool.watch()
		s, err := t.state()
		if err == nil && s == (groupState{}) {
			if done.IsZero() {
				done = time.Now()
			}
			if len(t.prog.missing(t.prod.published())) == 0 || time.Since(done) > time.Second {
				return
			}
		} else {
			done = time.Time{}
		}
		if now := fmt.Sprint(t.prog.count(), s, err); now != was {
			still, was = 0, now
		}
		if still > patience {
			t.find(
				kindStall,
				"nothing moved for %v: %d pending, unread: %v, %v",
				patience.Round(100*time.Millisecond),
				s.pending,
				s.unread > 0,
				err,
			)
			return
		}
		t.must(sleep(t.ctx, 25*time.Millisecond))
	}
}

// conclude ends the workers cleanly and reads the ledger.
func (t *trial) conclude() {
	t.pool.dismissAll(drainPromise + 5*time.Second)
	if s, err := t.state(); err != nil {
		t.find(kindPending, "the final group state is unknown: %v", err)
	} else if s != (groupState{}) {
		t.find(kindPending, "at the end %d entries are pending, unread: %v", s.pending, s.unread > 0)
	}
	t.pool.flat()
	l, err := readLedger(t.ctx, t)
	t.must(err)
	t.judge(l)
}

// drainPromise is how long a worker may need to end after SIGTERM, on a quiet machine. Its own limit is
// longer, because on a busy one it can need more.
const drainPromise = 5 * time.Second

// usual runs a complete trial with the default steps.
func (t *trial) usual(workers int, chaos func()) {
	t.load(workers, chaos)
	t.settle()
	t.conclude()
}

// before compares entry ids.
func before(a, b string) bool {
	am, as := splitID(a)
	bm, bs := splitID(b)
	return am < bm || am == bm && as < bs
}

func splitID(id string) (ms, seq uint64) {
	_, _ = fmt.Sscanf(id, "%d-%d", &ms, &seq) // the server generated it
	return ms, seq
}

// counted returns the faults as text.
func (t *trial) counted() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := ""
	for _, kind := range slices.Sorted(maps.Keys(t.faults)) {
		if n := t.faults[kind]; n > 0 {
			if text != "" {
				text += ", "
			}
			text += fmt.Sprintf("%d× %s", n, kind)
		}
	}
	return text
}

// upTo returns a random time of at most d.
func (t *trial) upTo(d time.Duration) time.Duration { return time.Duration(t.rng.Int64N(int64(d) + 1)) }

// sized returns a number of faults for the form of the run and its number of messages.
func (t *trial) sized(short, long int) int {
	if t.o.quick {
		return (short + 3) / 4 // half the time, besides other trials and perhaps with the race detector
	}
	n, usual := short, orDefault(t.scenario.short, shortMessages)
	if t.o.Long {
		n, usual = long, orDefault(t.scenario.long, longMessages)
	}
	if t.n < usual {
		n = max(1, n*t.n/(2*usual))
	}
	return n
}

// skip records why a trial cannot run here. A skipped trial does not pass.
func (t *trial) skip(format string, args ...any) { t.skipped = fmt.Sprintf(format, args...) }

// timed returns a time for the form of the run.
func (t *trial) timed(short, long time.Duration) time.Duration {
	if t.o.Long {
		return long
	}
	return short
}

// round waits within chaos, and reports whether there is time for another round.
func (t *trial) round(least, most time.Duration) bool {
	t.pool.watch()
	return sleep(t.over, least+t.upTo(most-least)) == nil
}
