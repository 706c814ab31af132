package faulttest

import (
	"time"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Faults of the server.
var serverScenarios = []Scenario{
	{
		ID:    "R5 everysec",
		What:  "kill -9 of Redis ×4, with the AOF synced every second",
		short: 4800,
		run:   func(t *trial) { crashServer(t, "everysec") },
	},
	{
		ID:    "R5 always",
		What:  "kill -9 of Redis ×4, with the AOF synced on each write",
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
		What: "kill -9 of Redis ×3 without persistence: the stream and its group are lost; " +
			"the producer rewrites messages that are missing in the output",
		run: forgetfulServer,
	},
}

// crashServer is R5.
func crashServer(t *trial, fsync string) {
	s := t.server(redistest.Args("--appendonly", "yes", "--appendfsync", fsync))
	const killed = "kill -9 of the server"
	t.needs[killed] = 4
	var slowest time.Duration
	t.usual(4, func() {
		for range 4 {
			if sleep(t.over, t.timed(700*time.Millisecond, 8*time.Second)) != nil {
				return
			}
			down := time.Now()
			t.must(s.Process().Kill())
			t.pause(t.upTo(400 * time.Millisecond))
			t.must(s.Process().Restart(t.ctx))
			t.down(time.Since(down))
			t.fault(killed, 1)
			t.allow(4 * t.job.InFlight)
			slowest = max(slowest, recovers(t))
		}
	})
	t.note("running again at most %v after the server answered", slowest.Round(10*time.Millisecond))
}

// recovers waits for the next progress and returns how long it took.
func recovers(t *trial) time.Duration {
	began := time.Now()
	t.flows(t.prog.count())
	return time.Since(began)
}

// forgetfulServer keeps the output on another server, which shows what was lost. Everything written
// to a server and not lost with it must be delivered, and no worker may need a restart.
func forgetfulServer(t *trial) {
	s := t.server()
	elsewhere(t)
	const killed = "kill -9 of the server"
	t.needs[killed] = 3
	t.usual(4, func() {
		for range 3 {
			if sleep(t.over, t.timed(1200*time.Millisecond, 10*time.Second)) != nil {
				return
			}
			down := time.Now()
			t.must(s.Process().Kill())
			var gone []int
			t.prod.between(func() { gone = t.prod.published() })
			t.pause(t.upTo(400 * time.Millisecond))
			t.must(s.Process().Restart(t.ctx))
			t.down(time.Since(down))
			t.fault(killed, 1)
			writeAgain(t, gone)
		}
	})
}

// elsewhere puts the output on a separate server without faults.
func elsewhere(t *trial) {
	other := t.startServer()
	t.out = t.clientFor(other)
	t.job.OutputURL = other.URL()
}

// writeAgain makes the producer rewrite the messages that were lost with the stream and did not
// reach the output. The workers' messages in flight are written as well, so republished messages
// may have several copies.
func writeAgain(t *trial, gone []int) {
	t.republish = true
	t.allow(len(t.pool.team) * t.job.InFlight)
	ids := t.prog.missing(gone)
	t.fault("messages written again", len(ids))
	t.must(t.prod.republish(t.ctx, ids))
}
