package faulttest

import (
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Writes that the server refuses, entries that it drops, and slow sinks.
var limitScenarios = []Scenario{
	{ID: "R11", What: "maxmemory is reached with noeviction, then there is room again", run: outOfMemory},
	{
		ID:   "R14 trim",
		What: "XTRIM of entries that are pending for killed workers",
		run:  func(t *trial) { deletesPending(t, true) },
	},
	{
		ID:   "R14 delete",
		What: "XDEL of entries that are pending for killed workers",
		run:  func(t *trial) { deletesPending(t, false) },
	},
	{ID: "R15 type", What: "the output key becomes a string, then a stream again", run: wrongType},
	{ID: "R15 acl", What: "the workers' user loses the XADD permission and regains it", run: noPermission},
	{ID: "R15 scripts", What: "SCRIPT FLUSH every 50 ms, while handlers fail at random", run: flushesScripts},
	{ID: "R19", What: "a backlog of small messages into a sink at 32 KiB/s", short: 20_000, run: slowSink},
}

// outOfMemory is R11. A single worker keeps its order: a refused write is repeated before later
// ones.
func outOfMemory(t *trial) {
	t.server()
	const kind = "time without memory"
	t.needs[kind] = 2
	t.ordered = true
	refused := 0
	t.usual(1, func() {
		for range 2 {
			if !t.round(time.Second, t.timed(1500*time.Millisecond, 5*time.Second)) {
				return
			}
			full := time.Now()
			t.must(t.in.ConfigSet(t.ctx, "maxmemory", "1").Err())
			t.pause(t.timed(1500*time.Millisecond, 10*time.Second))
			if err := t.in.XAdd(t.ctx, &redis.XAddArgs{Stream: "{faults}:other",
				Values: []any{"a", "b"}}).Err(); redisio.IsFull(err) {
				refused++
			}
			t.must(t.in.ConfigSet(t.ctx, "maxmemory", "0").Err())
			t.down(time.Since(full))
			t.fault(kind, 1)
		}
	})
	if refused != t.did(kind) {
		t.find(kindVoid, "the server refused writes only %d times", refused)
	}
}

// deletesPending is R14. Every entry deleted while pending must be counted, and no other may be
// missing.
func deletesPending(t *trial, trim bool) {
	t.server()
	const kind = "pending entry deleted"
	t.needs[kind] = t.sized(40, 400)
	t.job.Lease, t.job.Work = 600*time.Millisecond, 60*time.Millisecond
	deleted := 0
	t.usual(2, func() {
		for t.round(t.timed(200*time.Millisecond, time.Second), t.timed(600*time.Millisecond, 2*time.Second)) {
			for i := range t.pool.team {
				t.pool.fire(i, false)
			}
			t.fault("kill -9 of a worker", len(t.pool.team))
			t.allow(len(t.pool.team) * t.job.InFlight)
			for connections(t) > 0 { // the server reads what they have sent, up to its end
				t.pause(5 * time.Millisecond)
			}
			ids := pendingIDs(t)
			if len(ids) > 0 {
				keepsPending(t, ids[0])
				n := deletePending(t, ids, trim)
				deleted += n
				t.fault(kind, n)
			}
			t.pool.refill()
			for began := time.Now(); t.pool.events()["trimmed while pending"] < deleted &&
				time.Since(began) < redistest.Patience; {
				t.pause(20 * time.Millisecond) // each entry is counted once; the count of a killed worker is lost
			}
		}
	})
	if n := t.pool.events()["trimmed while pending"]; n != deleted {
		t.find(kindPromise, "%d entries were deleted while pending, but %d were counted", deleted, n)
	}
}

// keepsPending requires that redisio's retention keeps pending entries.
func keepsPending(t *trial, id string) {
	_, err := admin.Trim(t.ctx, t.in, t.job.Input, admin.TrimOptions{Exact: true})
	t.must(err)
	if e, err := t.in.XRange(t.ctx, t.job.Input, id, id).Result(); err != nil || len(e) == 0 {
		t.find(kindPromise, "redisio.Trim dropped the pending entry %s: %v", id, err)
	}
}

// pendingIDs returns all pending entries in order.
func pendingIDs(t *trial) (ids []string) {
	for from := "-"; ; {
		page, err := t.in.XPendingExt(t.ctx, &redis.XPendingExtArgs{Stream: t.job.Input, Group: t.job.Group,
			Start: from, End: "+", Count: 500}).
			Result()
		t.must(err)
		for _, p := range page {
			ids = append(ids, p.ID)
		}
		if len(page) < 500 {
			return ids
		}
		from = "(" + ids[len(ids)-1]
	}
}

// deletePending deletes about half of the pending entries, and excuses their messages if they have
// not been seen by then.
func deletePending(t *trial, ids []string, trim bool) int {
	half := 1 + t.rng.IntN(len(ids))
	var gone []string
	if trim {
		gone = ids[:half]
		ms, seq := splitID(gone[half-1])
		t.must(t.in.XTrimMinID(t.ctx, t.job.Input, redisio.ID{Ms: ms, Seq: seq + 1}.String()).Err())
	} else {
		for _, at := range t.rng.Perm(len(ids))[:half] {
			gone = append(gone, ids[at])
		}
		t.must(t.in.XDel(t.ctx, t.job.Input, gone...).Err())
	}
	t.prog.poll(t.ctx)
	for _, id := range t.prod.messages(gone) {
		if t.prog.timesSeen(id) == 0 {
			t.excused[id] = true
		}
	}
	return len(gone)
}

// wrongType is the first part of R15. The workers must stop with an error that names the cause.
// They must not ack entries if the output was not written.
func wrongType(t *trial) {
	t.server()
	aside := t.job.Output + ":aside"
	refuses(t, "WRONGTYPE", func() {
		tx := t.in.TxPipeline() // SET would lose a write in between
		tx.Rename(t.ctx, t.job.Output, aside)
		set := tx.Set(t.ctx, t.job.Output, "a string", 0)
		_, _ = tx.Exec(t.ctx) // the key may not exist yet
		t.must(set.Err())
	}, func() {
		_, err := t.in.TxPipelined(t.ctx, func(tx redis.Pipeliner) error {
			tx.Del(t.ctx, t.job.Output)
			tx.Rename(t.ctx, aside, t.job.Output)
			return nil
		})
		t.must(err)
	})
}

// noPermission is the second part of R15.
func noPermission(t *trial) {
	s := t.server()
	t.must(t.in.Do(t.ctx, "acl", "setuser", "worker", "on", ">secret", "~*", "&*", "+@all").Err())
	t.job.URL = "redis://worker:secret@" + s.Addr()
	refuses(t, "NOPERM", func() { t.must(t.in.Do(t.ctx, "acl", "setuser", "worker", "-xadd").Err()) },
		func() { t.must(t.in.Do(t.ctx, "acl", "setuser", "worker", "+xadd").Err()) })
}

// refuses makes the server refuse all writes until every worker has stopped with an error.
func refuses(t *trial, says string, start, end func()) {
	t.needs[says] = 2
	t.pool.mayEnd = says
	t.usual(2, func() {
		for range 2 {
			if !t.round(500*time.Millisecond, t.timed(time.Second, 10*time.Second)) {
				return
			}
			began := time.Now()
			start()
			for t.pool.present() > 0 && time.Since(began) < 8*time.Second+t.busy() {
				t.pause(20 * time.Millisecond)
				t.pool.watch()
			}
			if n := t.pool.present(); n > 0 {
				t.find(kindPromise, "%d workers kept running after %s", n, says)
			}
			end()
			t.pool.refill()
			t.pool.ready()
			t.down(time.Since(began))
			t.fault(says, 1)
		}
	})
	t.note("%d workers ended with %s", t.pool.ended, says)
}

// flushesScripts is the third part of R15.
func flushesScripts(t *trial) {
	t.server()
	t.job.Fails, t.job.NackAfter = 0.05, 50*time.Millisecond
	const kind = "SCRIPT FLUSH"
	t.needs[kind] = t.sized(50, 500)
	t.usual(3, func() {
		t.every(40*time.Millisecond, 60*time.Millisecond, func() {
			t.must(t.in.ScriptFlush(t.ctx).Err())
			t.fault(kind, 1)
		})
	})
}

// slowSink is R19. The credits must limit the entries in flight, and with them memory.
func slowSink(t *trial) {
	t.server()
	other := t.startServer()
	t.out = t.clientFor(other)
	p := proxyTo(t, other.Addr())
	t.job.OutputURL = p.URL()
	t.job.InFlight, t.job.Work, t.job.Workers = 1024, 0, 1
	t.ordered = true
	t.rate = 20_000
	t.open()
	t.must(t.prod.produce(t.ctx, 0, t.n))
	p.Shape(redistest.Traffic{Bandwidth: 32 << 10})
	t.pool.staff(1)
	t.pool.ready()
	t.prog.restart()
	t.watchFor(t.timed(5*time.Second, time.Minute))
	t.fault("seconds with a slow sink", int(t.timed(5*time.Second, time.Minute).Seconds()))
	if came := t.prog.came(); came >= t.n {
		t.find(kindVoid, "all %d messages were written while the sink was slow", came)
	}
	p.Shape(redistest.Traffic{})
	t.settle()
	if most := t.pool.busiest(); most.InFlight > t.job.InFlight {
		t.find(kindPromise, "%d entries are in flight, but the credits are %d", most.InFlight, t.job.InFlight)
	}
	t.conclude()
}
