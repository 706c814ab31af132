package faulttest

import (
	"time"
)

// What happens to the server.
var serverScenarios = []Scenario{
	{
		ID:    "R5 everysec",
		What:  "kill -9 of Redis ×4, with an AOF synced each second",
		short: 4800,
		run:   func(t *trial) { crashServer(t, "everysec") },
	},
	{
		ID:    "R5 always",
		What:  "kill -9 of Redis ×4, with an AOF synced always",
		short: 4800,
		run:   func(t *trial) { crashServer(t, "always") },
	},
	{
		ID:       "R12",
		LongOnly: true,
		short:    3200,
		What:     "the server's clock steps by an hour, forward and back, while workers are killed",
		run:      clockSteps,
	},
	{
		ID: "R5 memory",
		What: "kill -9 of Redis ×3 with nothing on disk: the stream and its group are gone; the producer writes again what it " +
			"has not seen in the output",
		run: forgetfulServer,
	},
}

// crashServer is R5.
func crashServer(t *trial, fsync string) {
	s := t.server("--appendonly", "yes", "--appendfsync", fsync)
	const killed = "kill -9 of the server"
	t.needs[killed] = 4
	var slowest time.Duration
	t.usual(4, func() {
		for range 4 {
			if sleep(t.over, t.timed(700*time.Millisecond, 8*time.Second)) != nil {
				return
			}
			down := time.Now()
			s.kill()
			t.pause(t.upTo(400 * time.Millisecond))
			t.must(s.restart(t.ctx))
			t.down(time.Since(down))
			t.fault(killed, 1)
			t.allow(4 * t.job.InFlight)
			slowest = max(slowest, t.recovers())
		}
	})
	t.note("running again at most %v after the server answered", slowest.Round(10*time.Millisecond))
}

// recovers waits until there is progress again, and returns how long that took.
func (t *trial) recovers() time.Duration {
	began, n := time.Now(), t.prog.count()
	for t.prog.count() == n && time.Since(began) < 10*time.Second {
		t.pause(5 * time.Millisecond)
		t.pool.watch()
	}
	return time.Since(began)
}

// forgetfulServer: the output is elsewhere, and shows what was lost with the server. The promise is
// that everything that was written to a server, and not lost with it, is delivered, and that nobody
// needs to be restarted for it.
func forgetfulServer(t *trial) {
	s := t.server()
	t.elsewhere()
	const killed = "kill -9 of the server"
	t.needs[killed] = 3
	t.usual(4, func() {
		for range 3 {
			if sleep(t.over, t.timed(1200*time.Millisecond, 10*time.Second)) != nil {
				return
			}
			gone := t.prod.published()
			down := time.Now()
			s.kill()
			t.pause(t.upTo(400 * time.Millisecond))
			t.must(s.restart(t.ctx))
			t.down(time.Since(down))
			t.fault(killed, 1)
			t.writeAgain(gone)
		}
	})
}

// elsewhere puts the output on a server of its own, which nothing happens to.
func (t *trial) elsewhere() {
	other := t.startServer()
	t.out = t.clientFor(other)
	t.job.OutputURL = other.url()
}

// writeAgain has the producer write again what was gone with the stream and has not come out. What workers held in that
// moment comes as well, and then twice: republished messages have several copies.
func (t *trial) writeAgain(gone []int) {
	t.republish = true
	t.allow(len(t.pool.team) * t.job.InFlight)
	ids := t.prog.missing(gone)
	t.fault("messages written again", len(ids))
	t.must(t.prod.republish(t.ctx, ids))
}
