package faulttest

import "time"

// What happens to the workers.
var workerScenarios = []Scenario{
	{ID: "R1", What: "kill -9 of a random one of 4 workers every 100 ms", run: killWorkers},
	{ID: "R4", What: "a worker stopped for three leases and let go on, a zombie", run: zombies},
	{ID: "R17", What: "SIGTERM of a random worker under load, another takes its place", run: drains},
}

// killWorkers is R1.
func killWorkers(t *trial) {
	t.server()
	t.needs["kill -9 of a worker"] = t.sized(30, 300)
	t.usual(4, func() {
		t.every(80*time.Millisecond, 120*time.Millisecond, func() {
			t.pool.fire(t.victim(), true)
			t.fault("kill -9 of a worker", 1)
			t.allow(t.job.InFlight)
		})
	})
}

// zombies is R4: what a zombie had was taken over; it wakes up, finishes its work and acks it.
func zombies(t *trial) {
	t.server()
	const stopped = "zombie"
	t.needs[stopped] = t.sized(2, 8)
	t.job.Lease = time.Second
	t.usual(3, func() {
		t.every(100*time.Millisecond, 300*time.Millisecond, func() {
			i := t.victim()
			w := t.pool.team[i]
			t.must(w.pause())
			t.pause(3 * t.job.Lease)
			t.must(w.resume())
			t.fault(stopped, 1)
			t.allow(t.job.InFlight)
		})
	})
	e := t.pool.events()
	if e["lease lost"]+e["stale acks"] == 0 {
		t.find(kindPromise, "no zombie noticed that it had lost its lease")
	}
}

// drains is R17.
func drains(t *trial) {
	t.server()
	const asked = "SIGTERM of a worker"
	t.needs[asked] = t.sized(20, 50)
	t.job.Work = 50 * time.Millisecond
	var slowest time.Duration
	t.usual(4, func() {
		t.every(t.timed(20*time.Millisecond, 200*time.Millisecond), t.timed(80*time.Millisecond, 600*time.Millisecond), func() {
			i := t.victim()
			w := t.pool.team[i]
			for began := time.Now(); t.pendingFor(w) == 0 && time.Since(began) < time.Second; { // it has its hands full
				t.pause(3 * time.Millisecond)
			}
			slowest = max(slowest, t.pool.dismiss(i, t.job.Drain))
			t.leftBehind(w)
			t.pool.team[i] = t.hire(t.pool.job)
			t.fault(asked, 1)
		})
	})
	t.note("the slowest end took %v", slowest.Round(time.Millisecond))
}

// sized is a number by the form of the run.
func (t *trial) sized(short, long int) int {
	switch {
	case t.o.Long:
		return long
	case t.o.quick:
		return (short + 7) / 8 // a trial of half the time, beside others and perhaps with the race detector
	}
	return short
}

func (t *trial) timed(short, long time.Duration) time.Duration {
	if t.o.Long {
		return long
	}
	return short
}
