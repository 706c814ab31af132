package faulttest

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

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

// closes closes c at the trial's end.
func (t *trial) closes(c io.Closer) { t.atEnd(func() { _ = c.Close() }) } // the server may have been killed

// server sets up one server for input and output.
func (t *trial) server(args ...string) *server {
	s := t.startServer(args...)
	t.in = t.clientFor(s)
	t.out = t.in
	t.job.URL = s.url()
	return s
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
		s, err := t.state() // lost messages are not delivered
		return err != nil || s != (groupState{})
	}
	t.following.Store(t.prog)
	t.pool.job = t.job
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

// victim selects a random worker.
func (t *trial) victim() int { return t.rng.IntN(len(t.pool.team)) }

// down records that no progress was possible for d.
func (t *trial) down(d time.Duration) { t.outage = max(t.outage, d) }
