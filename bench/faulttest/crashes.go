package faulttest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// crashSteps returns all points between two steps of a message's processing: in the process, and
// before and after each of its requests.
func crashSteps() (steps []string) {
	for _, kind := range []string{"read", "reclaim", "shelve", "take", "renew", "write", "ack", "give back",
		"dead letter", "leave"} {
		for _, at := range []string{"before the request", "request sent", "reply received"} {
			steps = append(steps, kind+": "+at)
		}
	}
	for _, kind := range []string{"decode", "handle", "encode"} {
		steps = append(steps, kind+": before", kind+": after")
	}
	return steps
}

// The messages of a crash trial: plain ones, one that is rejected, and one that fails until it
// becomes a dead letter.
const (
	crashMessages = 24
	crashHits     = 3
	crashRejected = 5
	crashFailing  = 11
)

// RunCrashes is P4. It is exhaustive, not random. At each step one worker kills itself when it
// reaches the step for the first time, its successor at the second time, and so on. Then a worker
// that does not crash finishes the work.
func RunCrashes(ctx context.Context, o Options) Result {
	const atOnce = 6
	began := time.Now()
	steps := crashSteps()
	sum := Result{
		ID: "P4",
		What: "a worker and its successors kill themselves at each step of read, decode, handle, write, ack and " +
			"so on",
		Seed:     o.Seed,
		Order:    -1,
		Messages: len(steps) * crashMessages,
	}
	t, err := newTrial(ctx, &Scenario{ID: "P4"}, o)
	if err != nil {
		sum.Findings = []Finding{{kindAborted, err.Error()}}
		return sum
	}
	t.scenario.run = func(t *trial) {
		t.server()
		var mu sync.Mutex
		var all errgroup.Group
		all.SetLimit(atOnce)
		for i, step := range steps {
			all.Go(func() error {
				c := &crashTrial{t: t, step: step, job: t.job}
				c.job.Input, c.job.Output = fmt.Sprintf("{step%d}:in", i), fmt.Sprintf("{step%d}:out", i)
				err := c.run(ctx)
				mu.Lock()
				defer mu.Unlock()
				sum.Lost, sum.Duplicated, sum.Allowed = sum.Lost+c.lost, sum.Duplicated+c.duplicated,
					sum.Allowed+c.crashes*c.job.InFlight
				t.fault("crash", c.crashes)
				if err != nil && ctx.Err() == nil {
					t.find(c.kind, "%s: %v", step, err)
				}
				return nil
			})
		}
		_ = all.Wait() // the findings have the errors
		t.must(context.Cause(ctx))
	}
	r := t.run()
	sum.Findings, sum.Notes = r.Findings, []string{fmt.Sprintf("%d steps, %d crashes at each", len(steps), crashHits)}
	sum.Faults, sum.Took = r.Faults, time.Since(began)
	return sum
}

// crashTrial tests one step.
type crashTrial struct {
	t    *trial
	step string
	job  job
	kind string // kind of the finding, if any

	crashes, lost, duplicated int
}

func (c *crashTrial) run(ctx context.Context) error {
	c.kind = kindAborted
	c.job.Lease, c.job.Block, c.job.InFlight, c.job.Workers = 400*time.Millisecond, 50*time.Millisecond, 8, 2
	c.job.Work, c.job.MaxDeliveries, c.job.NackAfter = 150*time.Millisecond, 12, 20*time.Millisecond
	for id := range crashMessages {
		poison := map[int]string{crashRejected: poisonReject, crashFailing: poisonError}[id]
		if err := c.t.in.XAdd(ctx, &redis.XAddArgs{Stream: c.job.Input,
			Values: []any{"data", payload(id, poison)}}).Err(); err != nil {
			return err
		}
	}
	// This worker dies with unfinished entries, so that the steps of reclaiming have work.
	if crashed, err := c.life(ctx, crash{"handle: after", 1}); err != nil || !crashed {
		return fmt.Errorf("the first worker did not crash: %w", err)
	}
	for hit := 1; hit <= crashHits; hit++ {
		crashed, err := c.life(ctx, crash{c.step, hit})
		if err != nil {
			return err
		}
		if crashed {
			c.crashes++
		} else if hit == 1 { // one life may not reach the step twice
			c.kind = kindVoid
			return fmt.Errorf("no worker reached this step")
		}
	}
	if _, err := c.life(ctx, crash{"none", 1}); err != nil {
		return err
	}
	return c.count(ctx)
}

// life runs one worker, which crashes, or ends cleanly when no work is left.
func (c *crashTrial) life(ctx context.Context, at crash) (crashed bool, err error) {
	j := c.job
	j.Crash = at
	w, err := hire(j)
	if err != nil {
		return false, err
	}
	defer w.kill()
	began, looked := time.Now(), time.Now()
	still, was := time.Duration(0), ""
	for !w.ended() {
		still += min(time.Since(looked), 250*time.Millisecond) // this process may be late
		looked = time.Now()
		groups, settled := c.groups(ctx)
		if now := fmt.Sprint(groups, w.last().Handled); now != was {
			still, was = 0, now
		}
		if still > 20*time.Second || time.Since(began) > redistest.Patience {
			c.kind = kindStall
			return false, fmt.Errorf(
				"not done after %v, and nothing moved for %v, with the crash at %q, hit %d: %s",
				time.Since(began).Round(time.Second),
				still.Round(time.Second),
				at.Step,
				at.Hit,
				w.errors.text(),
			)
		}
		if settled {
			if err := c.dismiss(ctx, w); err != nil {
				return false, err
			}
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return false, err
		}
	}
	if last := w.last(); last.Last {
		if last.Err != "" {
			c.kind = kindExit
			return false, fmt.Errorf("a worker ended by itself: %s", last.Err)
		}
		return false, nil
	}
	return strings.Contains(w.cmd.ProcessState.String(), "killed"), nil
}

// dismiss asks a worker to end.
func (c *crashTrial) dismiss(ctx context.Context, w *worker) error {
	if err := w.ready(ctx); err != nil {
		return err
	}
	asked := time.Now()
	if err := w.signal(sigTerm); err != nil {
		return err
	}
	ended := w.within(40 * time.Second)
	took := time.Since(asked)
	if most := 10*time.Second + 3*max(c.t.delays().Most, w.late().Most); !ended || took > most {
		c.kind = kindDrain
		return fmt.Errorf("a worker did not end within %v of SIGTERM", most)
	}
	return nil
}

// groups returns the state of the group, and whether all messages are settled.
func (c *crashTrial) groups(ctx context.Context) (groups []redis.XInfoGroup, settled bool) {
	groups, err := c.t.in.XInfoGroups(ctx, c.job.Input).Result()
	return groups, err == nil && len(groups) == 1 && groups[0].Pending == 0 && groups[0].EntriesRead == crashMessages
}

// count adds up the results of all messages.
func (c *crashTrial) count(ctx context.Context) error {
	var out, dead [crashMessages]int
	if _, err := scan(ctx, c.t.in, c.job.Output, "", func(id int, _ *redis.XMessage) { out[id]++ }); err != nil {
		return err
	}
	if _, err := scan(ctx, c.t.in, c.job.Input+":dead", "", func(id int, _ *redis.XMessage) {
		dead[id]++
	}); err != nil {
		return err
	}
	var lost, wrong []int
	for id := range crashMessages {
		poison := id == crashRejected || id == crashFailing
		switch {
		case out[id]+dead[id] == 0:
			lost = append(lost, id)
		case poison && (dead[id] != 1 || out[id] > 0), !poison && dead[id] > 0:
			wrong = append(wrong, id)
		}
		c.duplicated += max(0, out[id]-1)
	}
	c.lost = len(lost)
	_, settled := c.groups(ctx)
	switch most := (c.crashes + 1) * c.job.InFlight; {
	case len(lost) > 0:
		c.kind = kindLost
		return fmt.Errorf("lost %v", lost)
	case len(wrong) > 0:
		c.kind = kindDead
		return fmt.Errorf("these messages are not exactly once in the dead letters, or were not poisoned: %v", wrong)
	case c.duplicated > most:
		c.kind = kindDuplicated
		return fmt.Errorf("%d duplicates, but the crashes explain only %d", c.duplicated, most)
	case !settled:
		c.kind = kindPending
		return fmt.Errorf("entries are still pending")
	}
	return nil
}
