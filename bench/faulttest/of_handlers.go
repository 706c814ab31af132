package faulttest

import "time"

// Faults of the user's function.
var handlerScenarios = []Scenario{
	{ID: "R3", What: "2 % of the handler calls take three leases", run: slowHandlers},
	{
		ID:   "R16",
		What: "1 message in 100 is poison: it errors, panics, is rejected, hangs or cannot be decoded",
		run:  poison,
	},
	{
		ID:   "R16 random",
		What: "handlers that fail (10 %), panic (3 %) and are slow (1 %) at random",
		run:  randomHandlers,
	},
}

// slowHandlers is R3. Leases are renewed, so entries that are being processed are not taken over.
func slowHandlers(t *trial) {
	t.server()
	t.job.Lease, t.job.Unordered = time.Second, true
	t.job.Slow = chance{0.02, 3 * t.job.Lease}
	t.job.Workers *= 2
	t.usual(3, nil)
	t.fault("ms per slow call", int(t.job.Slow.For.Milliseconds()))
	if n := t.pool.events()["reclaimed"]; n > t.lapses() {
		t.find(kindPromise, "%d entries in progress were taken over from a live reader", n)
	}
}

// poison is R16.
func poison(t *trial) {
	t.server()
	t.letters, t.job.MaxDeliveries, t.job.NackAfter, t.job.Timeout = true, 3, 100*time.Millisecond, 400*time.Millisecond
	t.open()
	t.prod.poison = poisoned(t.o.Seed, 0.01)
	n := 0
	for id := range t.n {
		if t.prod.poison(id) != "" {
			n++
		}
	}
	t.fault("poisoned message", n)
	t.needs["poisoned message"] = t.n / 200
	t.usual(3, nil)
}

// randomHandlers is the second part of R16.
func randomHandlers(t *trial) {
	t.server()
	t.job.Fails, t.job.Panic, t.job.Slow = 0.10, 0.03, chance{0.01, 500 * time.Millisecond}
	t.job.NackAfter, t.job.MaxDeliveries = 50*time.Millisecond, -1
	t.usual(3, nil)
	t.fault("failures in 100 calls", 13)
}
