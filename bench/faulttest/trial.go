package faulttest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	rng      *rand.Rand // of the schedule of faults; used by the trial's goroutine only
	n        int
	rate     int

	in, out redis.UniversalClient // the harness' own, past all proxies
	job     job                   // what workers are told by default
	pool    *pool
	prod    *producer
	prog    *progress
	over    context.Context // ends when all is produced

	needs     map[string]int // faults without which the trial is void
	allowed   int            // duplicates that the faults explain
	ordered   bool           // the order of each key is promised
	surviving bool           // the server may lose input: what counts is what it still has in the end
	republish bool           // messages were produced more than once, and the streams do not tell
	excused   map[int]bool   // messages that were deleted under our feet: exactly they are missing
	letters   bool           // poison was produced: it is in the dead letters, once each
	outage    time.Duration  // the longest that the trial kept the work from going on
	cleanup   []func()

	following atomic.Pointer[progress]

	mu       sync.Mutex
	faults   map[string]int
	findings []Finding
	sum      tally
	notes    []string
	skipped  string
}

// abort is the panic by which a trial that cannot go on ends.
type abort struct{ err error }

func (t *trial) must(err error) {
	if err != nil {
		panic(abort{err})
	}
}

// newTrial draws everything that is random from the seed and the scenario's name.
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
		needs:    make(map[string]int),
		faults:   make(map[string]int),
		excused:  make(map[int]bool),
	}
	t.job = job{
		Input:    "{faults}:in",
		Output:   "{faults}:out",
		Group:    "work",
		Lease:    1500 * time.Millisecond,
		Block:    100 * time.Millisecond,
		Drain:    5 * time.Second,
		InFlight: 64,
		Workers:  8,
		Work:     20 * time.Millisecond,
		Seed:     o.Seed,
		Variant:  o.Variant,
	}
	if o.Long { // five times as many messages a second
		t.job.InFlight, t.job.Workers = 256, 32
	}
	t.pool = &pool{t: t}
	return t, nil
}

// run is the whole trial. It leaves no process, and no folder unless it was asked to.
func (t *trial) run() (r Result) {
	began := time.Now()
	func() {
		defer func() {
			switch v := recover().(type) {
			case nil:
			case abort:
				t.find(kindAborted, "%v", v.err)
			default:
				t.find(kindAborted, "panic: %v\n%s", v, debug.Stack())
			}
		}()
		t.scenario.run(t)
	}()
	r = t.result()
	r.Took = time.Since(began)
	t.keep()
	t.pool.killAll()
	for _, f := range slices.Backward(t.cleanup) {
		f()
	}
	return r
}

// keep leaves what the workers wrote and the folder, where it is wanted.
func (t *trial) keep() {
	if !t.o.Keep {
		t.cleanup = slices.Insert(t.cleanup, 0, func() { _ = os.RemoveAll(t.dir) }) // a temporary one: the last to go
		return
	}
	for _, w := range t.pool.all() {
		_ = os.WriteFile(
			filepath.Join(t.dir, fmt.Sprintf("worker-%d.log", w.pid())),
			[]byte(w.out.text()),
			0o644,
		) // for a reader, if one comes
	}
	if t.in != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = t.in.Save(ctx).Err() // the same
	}
	t.o.logf("%s: kept %s", t.scenario.ID, t.dir)
}

// atEnd does something at the trial's end.
func (t *trial) atEnd(f func()) { t.cleanup = append(t.cleanup, f) }

// fault counts faults that were done.
func (t *trial) fault(kind string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults[kind] += n
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

// startServer starts a server that ends with the trial.
func (t *trial) startServer(args ...string) *server {
	s, err := start(t.ctx, t.dir, nil, args...)
	t.must(err)
	t.atEnd(s.kill)
	return s
}

func (t *trial) clientFor(s *server) *redis.Client {
	c := s.client()
	t.closes(c)
	return c
}

// closes closes what is the trial's when it ends.
func (t *trial) closes(c io.Closer) { t.atEnd(func() { _ = c.Close() }) } // a server may have been killed

// server is the usual set-up: one server for input and output.
func (t *trial) server(args ...string) *server {
	s := t.startServer(args...)
	t.in = t.clientFor(s)
	t.out = t.in
	t.job.URL = s.url()
	return s
}

// dead is the key of the dead letters.
func (t *trial) dead() string {
	if t.job.Dead != "" {
		return t.job.Dead
	}
	return t.job.Input + ":dead"
}

// open makes the producer and the progress, and the group, so that nothing waits for the first worker.
func (t *trial) open() {
	t.prod = newProducer(t.in, t.job.Input, t.n, t.rate)
	t.prog = &progress{
		in:       t.in,
		out:      t.out,
		output:   t.job.Output,
		dead:     t.dead(),
		produced: t.prod.done,
		age:      t.prod.age,
		seen:     make([]uint16, t.n),
	}
	t.prog.remains = func(came, produced int) bool {
		if !t.surviving || came >= produced {
			return came < produced
		}
		s, err := t.state() // what the server lost does not come
		return err != nil || s != (groupState{})
	}
	t.following.Store(t.prog)
	t.pool.job = t.job
}

// load has workers work while all messages are produced, and meanwhile does chaos, which ends when t.over does.
func (t *trial) load(workers int, chaos func()) {
	if t.prod == nil {
		t.open()
	}
	t.pool.staff(workers)
	t.pool.ready()
	t.prog.restart()
	t.whileProducing(0, t.n, chaos)
}

// whileProducing produces messages and does chaos meanwhile.
func (t *trial) whileProducing(from, to int, chaos func()) {
	over, stop := context.WithCancel(t.ctx)
	t.over = over
	follow, unfollow := context.WithCancel(t.ctx)
	var both sync.WaitGroup
	var produced error
	both.Go(func() {
		defer stop()
		produced = t.prod.produce(t.ctx, from, to)
	})
	both.Go(func() { t.prog.follow(follow) })
	defer both.Wait()
	t.atEnd(unfollow)
	defer func() {
		if v := recover(); v != nil {
			stop()
			unfollow()
			panic(v)
		}
	}()
	defer unfollow()
	if chaos != nil {
		chaos()
	}
	<-over.Done()
	t.must(produced)
}

// watchFor follows the progress for a time in which the trial does nothing.
func (t *trial) watchFor(d time.Duration) {
	ctx, cancel := context.WithTimeout(t.ctx, d)
	defer cancel()
	t.prog.follow(ctx)
}

// every does something at random times while messages are produced.
func (t *trial) every(least, most time.Duration, do func()) {
	for sleep(t.over, least+t.upTo(most-least)) == nil {
		t.pool.watch()
		do()
	}
}

// pause waits inside of chaos.
func (t *trial) pause(d time.Duration) { _ = sleep(t.ctx, d) } // what comes next notices

// victim draws one of the team.
func (t *trial) victim() int { return t.rng.IntN(len(t.pool.team)) }

// down notes that nothing could go on for d.
func (t *trial) down(d time.Duration) { t.outage = max(t.outage, d) }

// allow notes duplicates that a fault explains.
func (t *trial) allow(n int) { t.allowed += n }

// stallAllowed is the longest time without progress that is promised: entries of a dead reader wait
// for their lease and for the next search, which comes every half a lease; an outage is followed by
// a backoff that has grown with it, to at most half as much again as it lasted, jitter included.
// The rest is for a busy machine.
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
	return d
}

// groupState is how much of the input is not settled.
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
	return groupState{}, errors.New("there is no group")
}

// settle waits until everything that was produced is done with, or nothing moves any more.
func (t *trial) settle() {
	follow, unfollow := context.WithCancel(t.ctx)
	var following sync.WaitGroup
	following.Go(func() { t.prog.follow(follow) })
	defer following.Wait()
	defer unfollow()
	patience := t.stallAllowed() + 3*time.Second
	moved, was, done := time.Now(), "", time.Time{}
	for {
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
			moved, was = time.Now(), now
		}
		if time.Since(moved) > patience {
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

// conclude ends the workers in order and reads the ledger.
func (t *trial) conclude() {
	t.pool.dismissAll(t.job.Drain + 5*time.Second)
	if s, err := t.state(); err != nil {
		t.find(kindPending, "the group's state in the end: %v", err)
	} else if s != (groupState{}) {
		t.find(kindPending, "in the end %d entries are pending, unread: %v", s.pending, s.unread > 0)
	}
	t.pool.flat()
	l, err := readLedger(t.ctx, t)
	t.must(err)
	t.judge(l)
}

// usual is a whole trial of the usual kind.
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
	_, _ = fmt.Sscanf(id, "%d-%d", &ms, &seq) // the server wrote it
	return ms, seq
}

// counted is the faults as text.
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

// upTo draws a time, d included.
func (t *trial) upTo(d time.Duration) time.Duration { return time.Duration(t.rng.Int64N(int64(d) + 1)) }

// sized is a number of faults by the form of the run, and by how much of it was asked for.
func (t *trial) sized(short, long int) int {
	if t.o.quick {
		return (short + 7) / 8 // a trial of half the time, beside others and perhaps with the race detector
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

// skip says why a trial cannot be run here. That is not a pass.
func (t *trial) skip(format string, args ...any) { t.skipped = fmt.Sprintf(format, args...) }

// timed is a time by the form of the run.
func (t *trial) timed(short, long time.Duration) time.Duration {
	if t.o.Long {
		return long
	}
	return short
}

// round waits inside of chaos, and reports whether there is time for another.
func (t *trial) round(least, most time.Duration) bool {
	t.pool.watch()
	return sleep(t.over, least+t.upTo(most-least)) == nil
}
