package faulttest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Faults of the disk, of replicas and of Cluster nodes. The servers lose writes here that they had
// acknowledged, as Redis does. All messages that survive must be delivered.
//
// An output is lost for good if its server acknowledged and then lost it, while the server's
// successor has the input's ack. Where the scenario's sink does not wait for a replica, such
// outputs, which were seen before, are noted as losses of the server.
var topologyScenarios = []Scenario{
	{ID: "R6", What: "the AOF cut at a random byte, ×4: the server loses its last writes", short: 3200, run: cutAOF},
	{
		ID: "R7",
		What: "the master dies, and its replica, 400 ms behind, takes over, ×2; an output waits for a replica " +
			"(Durability)",
		short: 3200,
		run:   laggingReplica,
	},
	{
		ID: "R8",
		What: "kill -9 of the master under three Sentinels, ×1–2 (long: ×3); it restarts when messages flow; " +
			"min-replicas-to-write is 1, and an output waits for a replica (Durability)",
		short: 6000,
		run:   sentinelFailover,
	},
	{ID: "R9 moves", What: "8 moves of the slot between three Cluster nodes under load", short: 3200, run: slotMoves},
	{
		ID:    "R9 kill",
		What:  "kill -9 of the Cluster node that owns the slot; its replica takes over",
		short: 3200,
		run:   clusterFailover,
	},
}

// cutAOF is R6.
func cutAOF(t *trial) {
	s := t.server(redistest.Args("--appendonly", "yes", "--appendfsync", "everysec"))
	t.surviving = true
	const kind = "AOF cut"
	t.needs[kind] = 4
	t.usual(4, func() {
		for range 4 {
			if !t.round(700*time.Millisecond, t.timed(1200*time.Millisecond, 8*time.Second)) {
				return
			}
			// No output is written between the poll and the kill. The harness has then seen all that
			// the cut may undo.
			t.must(t.in.Do(t.ctx, "client", "pause", 10_000, "write").Err())
			t.prog.poll(t.ctx)
			down := time.Now()
			t.must(s.Process().Kill())
			lost := truncate(t, s, 1+t.rng.Int64N(24<<10))
			t.must(s.Process().Restart(t.ctx))
			t.must(rewrite(t, s)) // a second load would replay half a transaction at the end of a cut file
			t.down(time.Since(down))
			t.fault(kind, 1)
			t.fault("KiB of AOF lost", int(lost>>10))
			t.allow(4*t.job.InFlight + int(lost)/40) // an ack takes more than 40 bytes of AOF
			recovers(t)
		}
	})
}

// truncate cuts the newest part of the AOF.
func truncate(t *trial, s *redistest.Server, by int64) int64 {
	files, err := filepath.Glob(filepath.Join(s.Process().Dir(), "appendonlydir", "*.incr.aof"))
	t.must(err)
	var newest string
	var size, n, most int64
	for _, f := range files {
		if _, err := fmt.Sscanf(strings.TrimPrefix(filepath.Base(f), "appendonly.aof."), "%d.", &n); err == nil &&
			n > most {
			most, newest = n, f
		}
	}
	stat, err := os.Stat(newest)
	t.must(err)
	size = stat.Size()
	by = min(by, size)
	t.must(os.Truncate(newest, size-by))
	return by
}

// rewrite makes the server rewrite its AOF and waits for the end.
func rewrite(t *trial, s *redistest.Server) error {
	c := clientOf(s.Addr())
	defer c.Close()
	if err := c.BgRewriteAOF(t.ctx).Err(); err != nil {
		return err
	}
	for {
		info, err := c.Info(t.ctx, "persistence").Result()
		if err != nil ||
			strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0") {
			return err
		}
		if err := sleep(t.ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// laggingReplica is R7. The proxy leads all clients to the replica, as a changed DNS entry does.
func laggingReplica(t *trial) {
	soon := redistest.Args("--repl-diskless-sync-delay", "0")
	master := t.startServer(soon)
	p := proxyTo(t, master.Addr())
	c := clientOf(p.Addr())
	t.closes(c)
	t.in, t.out, t.job.URL = c, c, p.URL()
	t.surviving, t.job.Replicas = true, 1
	const kind = "failover to a replica that is behind"
	t.needs[kind] = 2
	replica := func(of *redistest.Server) *redistest.Server {
		r, err := redistest.NewReplica(t.ctx, of, soon)
		t.must(err)
		t.closes(r)
		return r
	}
	next := replica(master)
	spare := replica(next) // a replica of the replica, which becomes the master
	t.usual(3, func() {
		for range t.sized(2, 4) {
			if !t.round(500*time.Millisecond, t.timed(time.Second, 8*time.Second)) {
				return
			}
			t.prog.poll(t.ctx)
			before := t.prog.count()
			t.must(next.Process().Pause())
			t.pause(400 * time.Millisecond)
			t.prog.poll(t.ctx)
			rolledBack := t.prog.count() - before
			down := time.Now()
			t.must(master.Process().Kill())
			t.must(next.Process().Resume())
			admin := clientOf(next.Addr())
			err := admin.Do(t.ctx, "replicaof", "no", "one").Err()
			_ = admin.Close() // the harness' own
			t.must(err)
			p.Redirect(next.Addr())
			p.CutAll()
			t.down(time.Since(down))
			t.fault(kind, 1)
			t.fault("messages' work undone", rolledBack)
			t.allow(rolledBack + 2*3*t.job.InFlight) // plus the entries in flight before and after the pause
			recovers(t)
			master, next = next, spare
			spare = replica(next)
		}
	})
}

// sentinelFailover is R8. The workers ask the Sentinels through the URL that users give.
//
// The dead master restarts, and acts as master until the Sentinels demote it. A Sentinel that does
// not know of the failover yet sends clients there. Their writes are lost when the old master becomes
// a replica. An output written there is lost for good if its input was acked at the new master. Redis
// prevents this with min-replicas-to-write, because the old master then takes no writes without a
// replica.
func sentinelFailover(t *trial) {
	group, err := redistest.NewSentinel(
		t.ctx,
		2,
		redistest.Args("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2"),
	) // so the second failover need not wait for the dead master
	t.must(err)
	t.closes(group)
	o := group.Options()
	o.MaxRetries, o.DialTimeout, o.ReadTimeout, o.ClientName = -1, dialPatience, replyPatience, harness
	rdb := redis.NewFailoverClient(o)
	t.closes(rdb)
	t.in, t.out, t.job.URL = rdb, rdb, group.URL()
	t.surviving, t.job.Replicas = true, 1
	const kind = "failover by Sentinel"
	rounds := t.sized(2, 3)
	t.needs[kind] = max(1, rounds-1) // the Sentinels may take until the last message to demote the first master
	var slowest time.Duration
	t.usual(3, func() {
		for range rounds {
			if !t.round(500*time.Millisecond, t.timed(time.Second, 5*time.Second)) {
				return
			}
			down := time.Now()
			old, _, err := group.Failover(t.ctx)
			t.must(err)
			t.fault(kind, 1)
			t.allow(2 * 3 * t.job.InFlight)
			slowest = max(slowest, returns(t, group, old, down))
		}
	})
	t.note("running again at most %v after a master took writes", slowest.Round(10*time.Millisecond))
	if slowest > 6*time.Second+t.busy() {
		t.find(kindStall, "%v passed from the last refused write to the next message", slowest)
	}
}

// returns restarts the old master once messages flow again, and waits until all servers follow one
// master. The next one takes no writes without a replica, and a master that will be demoted gives wrong
// answers at the end of a trial. It returns the time from the last refused write to the first message.
//
// Two Sentinels may both fail over, to different replicas. Each is then a master without a replica,
// and refuses writes until the Sentinels demote one, about 8 s later. That time is an outage.
func returns(t *trial, group *redistest.Sentinel, old *redistest.Server, down time.Time) (flows time.Duration) {
	clients := make(map[*redistest.Server]*redis.Client)
	for _, s := range group.Nodes {
		clients[s] = clientOf(s.Addr())
		defer clients[s].Close() // the harness' own
	}
	n, taken, refused := t.prog.count(), down, time.Now() // the last writes; until now there was no master
	t.down(refused.Sub(taken))
	for sleep(t.ctx, 20*time.Millisecond) == nil {
		t.pool.watch()
		if takesWrites(t, clients) {
			taken = time.Now()
		} else {
			refused = time.Now()
			t.down(refused.Sub(taken))
		}
		switch {
		case flows == 0 && (t.prog.count() > n || t.over.Err() != nil):
			flows = time.Since(refused)
			t.must(old.Process().Restart(t.ctx))
		case flows > 0 && united(t, clients):
			return flows
		}
	}
	return flows
}

// united reports whether one server is the master, and the others follow one.
func united(t *trial, servers map[*redistest.Server]*redis.Client) bool {
	masters := 0
	for _, c := range servers {
		switch is, err := c.Info(t.ctx, "replication").Result(); {
		case err != nil:
			return false
		case strings.Contains(is, "role:master"):
			masters++
		case !strings.Contains(is, "master_link_status:up"):
			return false
		}
	}
	return masters == 1
}

// takesWrites reports whether one of the servers does. A new master does once a replica follows it.
func takesWrites(t *trial, servers map[*redistest.Server]*redis.Client) bool {
	for _, c := range servers {
		if c.Set(t.ctx, "faults:probe", 1, time.Minute).Err() == nil {
			return true
		}
	}
	return false
}

// startCluster sets up a Cluster. It returns the slot of all keys of the trial.
func startCluster(t *trial, replicas int) (*redistest.Cluster, int) {
	c, err := redistest.NewCluster(t.ctx, replicas)
	t.must(err)
	t.closes(c)
	o := c.Options()
	o.DialTimeout, o.ReadTimeout, o.ClientName = dialPatience, replyPatience, harness
	rdb := redis.NewClusterClient(o)
	t.closes(rdb)
	t.in, t.out, t.job.URL = rdb, rdb, c.URL()
	slot, err := c.Slot(t.ctx, t.job.Input)
	t.must(err)
	return c, slot
}

// slotMoves is R9. Input, output and dead letters share a slot, which is on two nodes for a moment.
func slotMoves(t *trial) {
	c, slot := startCluster(t, 0)
	const kind = "slot move"
	t.needs[kind] = 8
	t.usual(3, func() {
		for range 8 {
			if !t.round(t.timed(300*time.Millisecond, 3*time.Second), t.timed(600*time.Millisecond, 6*time.Second)) {
				return
			}
			began := time.Now()
			owner, err := c.Owner(t.ctx, slot)
			t.must(err)
			to := c.Nodes[(slices.Index(c.Nodes, owner)+1+t.rng.IntN(2))%3]
			t.must(c.MoveSlot(t.ctx, slot, to, func() { t.pause(30 * time.Millisecond) }))
			t.down(time.Since(began))
			t.fault(kind, 1)
			t.allow(3 * t.job.InFlight) // writes that the move interrupted
		}
	})
}

// clusterFailover is the second part of R9.
func clusterFailover(t *trial) {
	c, slot := startCluster(t, 1)
	t.surviving = true
	const kind = "kill -9 of the slot's node"
	t.needs[kind] = 1
	t.usual(3, func() {
		if !t.round(time.Second, t.timed(2*time.Second, 20*time.Second)) {
			return
		}
		t.prog.poll(t.ctx)
		down := time.Now()
		_, _, err := c.Failover(t.ctx, slot)
		t.must(err)
		t.down(time.Since(down))
		t.fault(kind, 1)
		t.allow(2 * 3 * t.job.InFlight)
		t.note("running again %v after the replica took over", recovers(t).Round(10*time.Millisecond))
	})
}
