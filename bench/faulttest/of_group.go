package faulttest

import (
	"time"
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
			t.must(t.in.XGroupDestroy(t.ctx, t.job.Input, t.job.Group).Err())
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
			n, err := t.in.XGroupDelConsumer(t.ctx, t.job.Input, t.job.Group,
				consumers[t.rng.IntN(len(consumers))].Name).
				Result()
			t.must(err)
			dropped += int(n)
			t.fault(kind, 1)
			t.allow(t.job.InFlight)
			t.flows(t.prog.count())
		})
	})
	t.note("%d entries were pending for the deleted consumers", dropped)
}
