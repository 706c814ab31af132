package faulttest

import (
	"context"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// startServer starts a server that ends with the trial.
func (t *trial) startServer(opts ...redistest.Option) *redistest.Server {
	s, err := redistest.New(t.ctx, opts...)
	t.must(err)
	t.atEnd(func() {
		if !t.o.Keep {
			_ = s.Close() // a temporary folder
			return
		}
		_ = s.Process().Kill() // the trial may have killed it
		t.o.logf("%s: kept %s", t.scenario.ID, s.Process().Dir())
	})
	return s
}

// clientFor returns a client of the harness itself, which bypasses all proxies.
func (t *trial) clientFor(s *redistest.Server) *redis.Client {
	c := clientOf(s.Addr())
	t.closes(c)
	return c
}

// harness is the client name of the harness' own connections.
const harness = "faults"

// A server that is down refuses connections and breaks those that it has. One that is silent is busy.
const (
	dialPatience  = 10 * time.Second
	replyPatience = 30 * time.Second
)

func clientOf(addr string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: addr, MaxRetries: -1, DialerRetries: 1, DialTimeout: dialPatience, ReadTimeout: replyPatience,
		ContextTimeoutEnabled: true, DisableIdentity: true, ClientName: harness,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// sleep waits for d, or returns the cause of ctx's end.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// closes closes c at the trial's end.
func (t *trial) closes(c io.Closer) { t.atEnd(func() { _ = c.Close() }) } // the server may have been killed

// server sets up one server for input and output.
func (t *trial) server(opts ...redistest.Option) *redistest.Server {
	s := t.startServer(opts...)
	t.in = t.clientFor(s)
	t.out = t.in
	t.job.URL = s.URL()
	pinging, stop := context.WithCancel(t.ctx)
	var pings sync.WaitGroup
	pings.Go(func() { t.there.ping(pinging, t.in) })
	t.atEnd(func() {
		stop()
		pings.Wait()
	})
	return s
}

func (t *trial) hire(j job) *worker {
	w, err := hire(j)
	t.must(err)
	return w
}

// dead returns the key of the dead letters.
func (t *trial) dead() string {
	if t.job.Dead != "" {
		return t.job.Dead
	}
	return t.job.Input + ":dead"
}

// open creates the producer, the progress and the group, so that nothing waits for the first
// worker.
func (t *trial) open() {
	t.prod = newProducer(t.in, t.job.Input, t.n, t.rate)
	t.prog = &progress{
		out:      position{rdb: t.out, key: t.job.Output},
		dead:     position{rdb: t.in, key: t.dead()},
		produced: t.prod.done,
		age:      t.prod.age,
		seen:     make([]uint16, t.n),
	}
	t.prog.remains = func(came, produced int) bool {
		if !t.surviving || came >= produced {
			return came < produced
		}
		s, err := t.state() // lost messages are not delivered
		return err != nil || s != (groupState{})
	}
	t.following.Store(t.prog)
	t.pool.job = t.job
	t.there.leases(t.job.Lease)
}

// load runs workers while all messages are produced, and chaos meanwhile, which ends when t.over
// does.
func (t *trial) load(workers int, chaos func()) {
	if t.prod == nil {
		t.open()
	}
	t.pool.staff(workers)
	t.pool.ready()
	t.prog.restart()
	t.whileProducing(0, t.n, chaos)
}

// whileProducing produces messages and runs chaos meanwhile.
func (t *trial) whileProducing(from, to int, chaos func()) {
	over, stop := context.WithCancel(t.ctx)
	t.over = over
	needs := maps.Clone(t.needs)
	t.injecting.Store(chaos != nil)
	t.prod.early = func() bool { return t.injecting.Load() && t.lacks(needs) }
	follow, unfollow := context.WithCancel(t.ctx)
	var both sync.WaitGroup
	var produced error
	both.Go(func() {
		defer stop()
		produced = t.prod.produce(t.ctx, from, to)
	})
	both.Go(func() { t.prog.follow(follow) })
	defer both.Wait()
	defer unfollow()
	defer stop() // also when chaos ends the trial
	if chaos != nil {
		chaos()
		t.injecting.Store(false)
	}
	<-over.Done()
	t.must(produced)
}

// watchFor follows the progress for a time without faults.
func (t *trial) watchFor(d time.Duration) {
	ctx, cancel := context.WithTimeout(t.ctx, d)
	defer cancel()
	t.prog.follow(ctx)
}

// every calls do at random intervals while messages are produced.
func (t *trial) every(least, most time.Duration, do func()) {
	for sleep(t.over, least+t.upTo(most-least)) == nil {
		t.pool.watch()
		do()
	}
}

// pause waits within chaos.
func (t *trial) pause(d time.Duration) { _ = sleep(t.ctx, d) } // the next call returns the error

// flows waits until there were more than n outputs, or no work is left. Then the next fault does not
// come before the workers, on any machine, have got over the last one. After a stall it gives up.
func (t *trial) flows(n int) {
	for began := time.Now(); time.Since(began) < t.stallAllowed() && t.over.Err() == nil; {
		if s, err := t.state(); err == nil && (t.prog.count() > n || s == (groupState{})) {
			return
		}
		t.pause(5 * time.Millisecond)
		t.pool.watch()
	}
}

// victim selects a random worker.
func (t *trial) victim() int { return t.rng.IntN(len(t.pool.team)) }

// down records that no progress was possible for d.
func (t *trial) down(d time.Duration) { t.outage = max(t.outage, d) }
