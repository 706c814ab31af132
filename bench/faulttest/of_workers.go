package faulttest

import (
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Faults of the workers.
var workerScenarios = []Scenario{
	{ID: "R1", What: "kill -9 of a random one of 4 workers every 100 ms", run: killWorkers},
	{ID: "R4", What: "a worker is stopped for three leases and continues as a zombie", short: 3600, run: zombies},
	{ID: "R17", What: "SIGTERM of a random worker under load; another replaces it", short: 4000, run: drains},
	{
		ID:    "R18",
		What:  "the number of workers changes repeatedly: 2 → 8 → 1 → 5; leaving workers are drained or killed",
		short: 4000,
		run:   storm,
	},
}

// Long scenarios come last.
var soakScenarios = []Scenario{
	{
		ID:        "R20",
		LongOnly:  true,
		What:      "a soak: kills, cut connections and zombies at the same time, besides one worker without faults",
		shortRate: 500,
		longRate:  500,
		soaks:     true,
		run:       soak,
	},
}

// killWorkers is R1.
func killWorkers(t *trial) {
	t.server()
	t.needs["kill -9 of a worker"] = t.sized(30, 300)
	t.usual(4, func() {
		t.every(80*time.Millisecond, 120*time.Millisecond, func() {
			n := t.prog.count()
			t.pool.fire(t.victim(), true)
			t.fault("kill -9 of a worker", 1)
			t.allow(t.job.InFlight)
			t.flows(n)
		})
	})
}

// zombies is R4. A zombie's entries were taken over; it continues, finishes its work and acks it.
func zombies(t *trial) {
	t.server()
	const stopped = "zombie"
	t.needs[stopped] = t.sized(2, 8)
	t.job.Lease = time.Second
	t.usual(3, func() {
		t.every(100*time.Millisecond, 300*time.Millisecond, func() {
			i := t.victim()
			w := t.pool.team[i]
			untilBusy(t, w)
			w.suspend(t)
			began := time.Now()
			t.pause(t.job.Lease / 4)
			pendingFor(t, w)         // the server handles what the worker has sent before
			held := pendingFor(t, w) // these entries will be taken over
			t.pause(3*t.job.Lease - time.Since(began))
			for held > 0 && pendingFor(t, w) > 0 && time.Since(began) < redistest.Patience {
				t.pause(20 * time.Millisecond)
			}
			t.must(w.signal(sigResume))
			t.allow(t.job.InFlight)
			if held > 0 {
				t.fault(stopped, 1)
			}
		})
	})
	e := t.pool.events()
	if e["lease lost"]+e["stale acks"] == 0 {
		t.find(kindPromise, "no zombie reported its lost lease")
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
		t.every(
			t.timed(20*time.Millisecond, 50*time.Millisecond),
			t.timed(80*time.Millisecond, 300*time.Millisecond),
			func() {
				i := t.victim()
				w := t.pool.team[i]
				untilBusy(t, w)
				slowest = max(slowest, t.pool.dismiss(i, drainPromise))
				leftBehind(t, w)
				t.pool.team[i] = t.hire(t.pool.job)
				t.fault(asked, 1)
			},
		)
	})
	t.note("the slowest shutdown took %v", slowest.Round(time.Millisecond))
}

// storm is R18. A plain group promises no order. The scenario checks that no work waits for workers
// that are gone.
func storm(t *trial) {
	t.server()
	const changed = "change of the number of workers"
	t.needs[changed], t.needs["kill -9 of a worker"] = t.sized(5, 15), t.sized(3, 10)
	t.job.Work = 50 * time.Millisecond // one worker can't keep up, so a leaving worker has entries in flight
	sizes := []int{8, 1, 5, 2}
	t.usual(2, func() {
		for i := 0; t.round(t.timed(800*time.Millisecond, 2*time.Second), t.timed(1100*time.Millisecond,
			2500*time.Millisecond)); i++ {
			become(t, sizes[i%len(sizes)])
			t.fault(changed, 1)
		}
	})
	for _, w := range t.pool.gone {
		if last := w.last(); last.Last && last.Err == "" && last.Released == 0 && consumes(t, w) {
			t.find(kindDrain, "worker %d ended cleanly but is still a consumer", w.pid())
		}
	}
}

// become changes the team to n workers. Workers leave at the same time; every third of them is
// killed.
func become(t *trial, n int) {
	p := t.pool
	t.rng.Shuffle(len(p.team), func(i, j int) { p.team[i], p.team[j] = p.team[j], p.team[i] })
	asked := make(map[int]*worker)
	for i := n; i < len(p.team); i++ {
		if t.rng.IntN(3) > 0 {
			asked[i] = p.team[i]
			p.ask(asked[i])
		}
	}
	for i := n; i < len(p.team); i++ {
		if w := asked[i]; w != nil {
			p.dismiss(i, drainPromise)
			leftBehind(t, w)
			continue
		}
		p.fire(i, false)
		t.fault("kill -9 of a worker", 1)
		t.allow(t.job.InFlight)
	}
	p.team = p.team[:min(n, len(p.team))]
	p.staff(n)
	p.ready()
}

// soak is R20. One worker runs throughout and must not grow.
func soak(t *trial) {
	s := t.server()
	p := proxyTo(t, s.Addr())
	p.CutRandomly(t.o.Seed, 0.005)
	t.job.URL = p.URL()
	minutes := t.n / t.rate / 60
	t.needs["kill -9 of a worker"], t.needs["zombie"], t.needs[redistest.CutReply.String()] = 1+10*minutes, 1+2*minutes,
		1+10*minutes
	zombie, files := time.Now(), 0
	t.usual(4, func() {
		t.every(time.Second, 3*time.Second, func() {
			i := 1 + t.rng.IntN(len(t.pool.team)-1)
			if time.Since(zombie) < 15*time.Second {
				t.pool.fire(i, true)
				t.fault("kill -9 of a worker", 1)
			} else {
				zombie = time.Now()
				t.pool.team[i].suspend(t)
				t.pause(3 * t.job.Lease)
				t.must(t.pool.team[i].signal(sigResume))
				t.fault("zombie", 1)
			}
			t.allow(t.job.InFlight)
			n := openFiles(t.pool.team[0].pid())
			if files == 0 {
				files = n
			}
			if n > files+8 {
				t.find(kindLeak, "worker %d: %d open files, after %d at the start", t.pool.team[0].pid(), n, files)
			}
		})
		p.CutRandomly(t.o.Seed, 0)
		p.excuse(t)
	})
}

// leftBehind reports entries that are pending for a worker that ended cleanly. Such a worker must
// have settled or released all its entries, because other workers cannot tell them from those of a
// live worker.
func leftBehind(t *trial, w *worker) {
	if n := pendingFor(t, w); n > 0 && w.last().Released == 0 {
		t.find(kindDrain, "worker %d ended and left %d entries pending", w.pid(), n)
	}
}

// pendingFor returns how many entries are pending for a worker.
func pendingFor(t *trial, w *worker) (n int64) {
	for _, c := range consumersOf(t, w) {
		n += c.Pending
	}
	return n
}

// consumes reports whether the worker is a consumer of the group.
func consumes(t *trial, w *worker) bool { return len(consumersOf(t, w)) > 0 }

// consumersOf returns the consumers of a worker. Their names contain its process id.
func consumersOf(t *trial, w *worker) []redis.XInfoConsumer {
	consumers, err := t.in.XInfoConsumers(t.ctx, t.job.Input, t.job.Group).Result()
	if err != nil && !redisio.IsMissing(err) {
		t.must(err)
	}
	return slices.DeleteFunc(consumers, func(c redis.XInfoConsumer) bool {
		return !strings.Contains(c.Name, w.named())
	})
}

// untilBusy waits until a worker has entries, or all messages are produced.
func untilBusy(t *trial, w *worker) {
	for pendingFor(t, w) == 0 && !w.ended() && t.over.Err() == nil {
		t.must(sleep(t.ctx, 3*time.Millisecond))
	}
}
