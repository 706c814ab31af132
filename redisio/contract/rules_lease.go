package contract

import (
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

// lease is short, but long compared to the delays of a busy machine.
const lease = 400 * time.Millisecond

const often = 30 * time.Millisecond

var leaseRules = []Rule{
	{
		"reclaim/dead",
		"A dead consumer's entries are taken over when its lease has expired, not before, as redelivered.",
		func(c *check, key string) {
			want := c.add(key, 12)
			c.takenBy(key, "dead", 10)
			cfg := leased(key)
			cfg.ReclaimEvery = often
			r := c.group(c.rdb, cfg)
			first := c.read(r, 2)
			if got := ids(first); !slices.Equal(got, want[10:]) {
				c.failf("got %v first, want the new ones", got)
			}
			c.acked(r, first) // entries that may have killed their reader wait for them
			// Only now the lease nears its end: on a busy machine the new ones may come late.
			age := []any{"xclaim", key, "g", "dead", 0}
			for _, id := range want[:10] {
				age = append(age, id)
			}
			start := time.Now()
			c.must(c.rdb.Do(c.ctx, append(age, "idle", (cfg.Lease-lease).Milliseconds(), "justid")...).Err())
			got := c.read(r, 10)
			if d := time.Since(start); d < lease-often || !slices.Equal(ids(got), want[:10]) || got[9].Deliveries != 2 {
				c.failf("got %v after %v, at delivery %d", ids(got), d, got[9].Deliveries)
			}
			if r.saw(redisio.EventReclaimed) != 10 {
				c.failf("%d reported as taken over", r.saw(redisio.EventReclaimed))
			}
		},
	},
	{
		"reclaim/all",
		"Reclaiming examines all pending entries, however many are in progress.",
		func(c *check, key string) {
			want := c.add(key, 605)
			c.takenBy(key, "slow", 600)
			for _, id := range c.takenBy(key, "dead", 5) {
				c.must(c.rdb.Do(c.ctx, "xclaim", key, "g", "dead", 0, id, "idle", 3_600_000, "justid").Err())
			}
			r := c.group(
				c.rdb,
				reader.GroupConfig{Key: key, Tuning: reader.Tuning{Lease: time.Minute, ReclaimEvery: often}},
			)
			var got []string
			for len(got) < 5 {
				taken := c.read(r, 1)
				c.acked(r, taken) // entries that may have killed their reader block others until acked
				got = append(got, ids(taken)...)
			}
			rest := want[600:]
			slices.Sort(got) // as strings, so ...-10 comes before ...-9
			slices.Sort(rest)
			c.same(got, rest)
		},
	},
	{
		"lease/held",
		"Entries held by a live reader are not delivered again, to it or to others, and count one delivery.",
		func(c *check, _ string) {
			// On a busy machine a short lease may lapse although its reader lives. Then it is a longer one's turn.
			if !c.isKept(func() { c.held(lease) }) && !c.isKept(func() { c.held(5 * lease) }) {
				c.held(20 * lease)
			}
		},
	},
	{
		"lease/fenced",
		"Renewing does not take back entries of another reader; their loss is reported.",
		func(c *check, key string) {
			c.add(key, 3)
			r := c.group(c.rdb, reader.GroupConfig{Key: key, Tuning: reader.Tuning{Lease: lease}})
			got := ids(c.read(r, 3))
			c.must(
				c.rdb.XClaimJustID(c.ctx, &redis.XClaimArgs{Stream: key, Group: "g", Consumer: "thief",
					Messages: got[1:2]}).
					Err(),
			)
			c.until("the loss is reported", func() bool { return len(r.taken()) > 0 })
			if p := c.pending(key)[got[1]]; p.Consumer != "thief" || !slices.Equal(r.taken(), got[1:2]) ||
				r.Held() != 2 {
				c.failf("pending %+v, lost %v, held %d", p, r.taken(), r.Held())
			}
		},
	},
	{"lease/uncounted", "Renewing counts no deliveries.", func(c *check, key string) {
		c.add(key, 1)
		r := c.group(c.rdb, reader.GroupConfig{Key: key, Tuning: reader.Tuning{Lease: lease}})
		id := ids(c.read(r, 1))[0]
		renewals, idle := 0, time.Duration(0)
		c.until("three renewals", func() bool {
			c.nothing(r, often)
			p := c.pending(key)[id]
			if p.RetryCount != 1 {
				c.failf("pending %+v", p)
			}
			if p.Idle < idle {
				renewals++
			}
			idle = p.Idle
			return renewals >= 3
		})
	}},
}

// held checks that a live reader keeps its entries while two readers look for idle ones for three
// leases.
func (c *check) held(lease time.Duration) {
	key := c.key(lease.String())
	c.add(key, 10)
	cfg := reader.GroupConfig{Key: key, Tuning: reader.Tuning{Lease: lease, ReclaimEvery: often}}
	a, b := c.group(c.rdb, cfg), c.group(c.rdb, cfg)
	got := ids(c.read(a, 10))
	var both sync.WaitGroup
	var failed [2]any
	for i, r := range []*watched{a, b} {
		both.Go(func() {
			defer func() { failed[i] = recover() }()
			c.nothing(r, 3*lease)
		})
	}
	both.Wait()
	for _, f := range failed {
		if f != nil {
			panic(f)
		}
	}
	for id, p := range c.pending(key) {
		if p.Consumer != a.Consumer() || p.RetryCount != 1 {
			c.failf("%s: %+v", id, p)
		}
	}
	c.acks(a, got, 10)
}

// isKept reports whether a part of a rule is kept. It does not end the rule.
func (c *check) isKept(part func()) (kept bool) {
	defer func() {
		switch p := recover().(type) {
		case nil, broken:
		default:
			panic(p)
		}
	}()
	part()
	return true
}
