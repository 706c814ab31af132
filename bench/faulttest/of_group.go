package faulttest

import (
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
)

// Faults that other clients inject into the stream and its group.
var groupScenarios = []Scenario{
	{ID: "R10 flush", What: "FLUSHALL; the producer rewrites messages that are missing in the output", run: flushes},
	{
		ID:   "R10 delete",
		What: "DEL of the stream; the producer rewrites messages that are missing in the output",
		run:  deletes,
	},
	{ID: "R10 destroy", What: "XGROUP DESTROY by another client, while handlers fail at random", run: destroys},
	{
		ID:   "R10 delconsumer",
		What: "XGROUP DELCONSUMER by another client, while handlers fail at random",
		run:  deletesConsumers,
	},
}

func flushes(t *trial) {
	losesStream(t, "FLUSHALL", func() { t.must(t.in.FlushAll(t.ctx).Err()) })
}

func deletes(t *trial) {
	losesStream(t, "DEL", func() { t.must(t.in.Del(t.ctx, t.job.Input).Err()) })
}

func losesStream(t *trial, kind string, do func()) {
	t.server()
	elsewhere(t)
	t.job.Work = 50 * time.Millisecond // entries are in flight most of the time
	t.needs[kind] = t.sized(3, 10)
	t.needs["messages written again"] = t.sized(20, 200)
	t.usual(3, func() {
		t.every(t.timed(700*time.Millisecond, 2*time.Second), t.timed(1200*time.Millisecond, 4*time.Second), func() {
			var gone []int
			t.prod.between(func() {
				gone = t.prod.published()
				do()
			})
			t.fault(kind, 1)
			n := t.prog.count()
			writeAgain(t, gone)
			t.flows(n)
		})
	})
	recreated(t, kind)
}

// recreated requires that a reader reported the loss.
func recreated(t *trial, kind string) {
	if t.did(kind) > 0 && t.pool.events()["group recreated"] == 0 {
		t.find(kindPromise, "no reader reported that the group was recreated")
	}
}

func destroys(t *trial) {
	t.server()
	t.job.Fails, t.job.NackAfter = 0.05, 100*time.Millisecond
	const kind = "XGROUP DESTROY"
	t.needs[kind] = t.sized(4, 20)
	t.usual(3, func() {
		t.every(600*time.Millisecond, 1100*time.Millisecond, func() {
			dropsPending(t, "", func(tx redis.Pipeliner) { tx.XGroupDestroy(t.ctx, t.job.Input, t.job.Group) })
			t.fault(kind, 1)
			t.allow(len(t.pool.team) * t.job.InFlight * 2) // entries of each reader, and nacked ones
			t.flows(t.prog.count())
		})
	})
	recreated(t, kind)
}

func deletesConsumers(t *trial) {
	t.server()
	t.job.Fails, t.job.NackAfter = 0.05, 100*time.Millisecond
	const kind = "XGROUP DELCONSUMER"
	t.needs[kind] = t.sized(8, 40)
	dropped := 0
	t.usual(3, func() {
		t.every(300*time.Millisecond, 500*time.Millisecond, func() {
			consumers, err := t.in.XInfoConsumers(t.ctx, t.job.Input, t.job.Group).Result()
			t.must(err)
			if len(consumers) == 0 {
				return
			}
			name := consumers[t.rng.IntN(len(consumers))].Name
			dropped += dropsPending(t, name, func(tx redis.Pipeliner) {
				tx.XGroupDelConsumer(t.ctx, t.job.Input, t.job.Group, name)
			})
			t.fault(kind, 1)
			t.allow(t.job.InFlight)
			t.flows(t.prog.count())
		})
	})
	t.note("%d entries were pending for the deleted consumers", dropped)
}

// risk is a loss of deliveries. A worker puts its entries back, unless it was late for a whole lease:
// another one may have handled them then.
type risk struct {
	worker  string   // the consumer; "": any
	entries []string // that were pending
}

// dropsPending does what makes the server forget the entries pending for a consumer, or for all of them
// if its name is empty. It returns how many there were.
func dropsPending(t *trial, consumer string, do func(redis.Pipeliner)) int {
	tx := t.in.TxPipeline()
	pending := tx.XPendingExt(t.ctx, &redis.XPendingExtArgs{Stream: t.job.Input, Group: t.job.Group,
		Start: "-", End: "+", Count: 10_000, Consumer: consumer})
	do(tx)
	if _, err := tx.Exec(t.ctx); !redisio.IsMissing(err) { // the group was not recreated yet
		t.must(err)
	}
	r := risk{worker: consumer}
	for _, p := range pending.Val() {
		r.entries = append(r.entries, p.ID)
	}
	t.risks = append(t.risks, r)
	return len(r.entries)
}

// mayBeLost returns the messages that may be missing because a worker was late when its entries were dropped.
func (t *trial) mayBeLost() map[int]bool {
	ids := make(map[int]bool)
	if t.broken() {
		return ids
	}
	for _, r := range t.risks {
		late := t.there.far().Often > 0
		for _, w := range t.pool.all() {
			if r.worker == "" || strings.HasPrefix(r.worker, "redisio:") || strings.Contains(r.worker, w.named()) {
				late = late || w.late().Often > 0
			}
		}
		if late {
			for _, id := range t.prod.messages(r.entries) {
				ids[id] = true
			}
		}
	}
	return ids
}
