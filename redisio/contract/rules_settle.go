package contract

import (
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

var settleRules = []Rule{
	{
		"ack/once",
		"Acks may be repeated: entries no longer pending are reported without an error.",
		func(c *check, key string) {
			c.add(key, 5)
			r := c.group(c.rdb, reader.GroupConfig{Key: key})
			got := ids(c.read(r, 5))
			for _, want := range []int{5, 0} {
				if n, err := r.Ack(c.ctx, got); n != want || err != nil {
					c.failf("acked %d, %v, want %d", n, err, want)
				}
			}
			if r.saw(redisio.EventStaleAcks) != 5 || r.Held() != 0 {
				c.failf("%d reported as stale, %d held", r.saw(redisio.EventStaleAcks), r.Held())
			}
			c.settled(key)
		},
	},
	{
		"ack/lost-reply",
		"An ack whose reply was lost is repeated, and nothing is redelivered.",
		func(c *check, key string) {
			c.add(key, 5)
			l, rdb := c.line()
			r := c.group(rdb, leased(key))
			got := ids(c.read(r, 5))
			l.loseReply("xack")
			if _, err := r.Ack(c.ctx, got); err != nil || l.losses() != 1 {
				c.failf("%v, %d replies lost", err, l.losses())
			}
			c.settled(key)
			c.nothing(r, 100*time.Millisecond)
		},
	},
	{
		"nack/delay",
		"Entries given back with a delay are due after it, for every reader, and not before.",
		func(c *check, key string) {
			c.add(key, 2)
			cfg := reader.GroupConfig{
				Key: key,
				Tuning: reader.Tuning{
					Lease:        2 * time.Second,
					ReclaimEvery: often,
					Block:        20 * time.Millisecond,
				},
			}
			r := c.group(c.rdb, cfg)
			got := ids(c.read(r, 2))
			const delay = 300 * time.Millisecond
			start := time.Now()
			c.must(r.Nack(c.ctx, got, delay))
			if again := c.read(r, 2); time.Since(start) < delay-10*time.Millisecond || !slices.Equal(ids(again), got) {
				c.failf("got %v after %v, want %v", ids(again), time.Since(start), delay)
			}
			start = time.Now()
			c.must(r.Nack(c.ctx, got, delay))
			other := c.group(c.rdb, cfg) // knows only the server's state
			if again := c.read(other, 2); time.Since(start) < delay/2 || !slices.Equal(ids(again), got) {
				c.failf("the other got %v after %v, want %v", ids(again), time.Since(start), delay)
			}
		},
	},
	{
		"nack/counted",
		"The server counts one attempt for each delivery and none for giving back.",
		func(c *check, key string) {
			id := c.add(key, 1)[0]
			r := c.group(c.rdb, leased(key))
			for want := int64(1); want <= 4; want++ {
				e := c.read(r, 1)[0]
				if p := c.pending(key)[id]; e.Deliveries != want || p.RetryCount != want {
					c.failf("delivery %d, counted as %d, want %d", e.Deliveries, p.RetryCount, want)
				}
				c.must(r.Nack(c.ctx, []string{id}, 0))
				if p := c.pending(key)[id]; p.RetryCount != want {
					c.failf("giving back made it %d deliveries of %d", p.RetryCount, want)
				}
			}
		},
	},
	{"nack/fenced", "Giving back entries that another reader owns now changes nothing.", func(c *check, key string) {
		c.add(key, 1)
		r := c.group(c.rdb, leased(key))
		got := ids(c.read(r, 1))
		c.must(
			c.rdb.XClaimJustID(c.ctx, &redis.XClaimArgs{Stream: key, Group: "g", Consumer: "thief", Messages: got}).
				Err(),
		)
		c.must(r.Nack(c.ctx, got, 0))
		if p := c.pending(key)[got[0]]; p.Consumer != "thief" || p.Idle > 30*time.Second {
			c.failf("pending %+v", p)
		}
		c.nothing(r, 100*time.Millisecond)
	}},
	{
		"release/at-once",
		"Other readers receive released entries at once, not after a lease.",
		func(c *check, key string) {
			c.add(key, 3)
			cfg := reader.GroupConfig{Key: key, Tuning: reader.Tuning{Lease: time.Minute, ReclaimEvery: often}}
			a, b := c.group(c.rdb, cfg), c.group(c.rdb, cfg)
			got := ids(c.read(a, 3))
			c.must(a.Release(c.ctx, got))
			c.same(ids(c.read(b, 3)), got)
		},
	},
	{
		"close/released",
		"A closing reader gives back its entries, and its consumer is deleted if nothing is pending for it.",
		func(c *check, key string) {
			c.add(key, 3)
			cfg := reader.GroupConfig{Key: key, Tuning: reader.Tuning{Lease: time.Minute, ReclaimEvery: often}}
			a, b := c.group(c.rdb, cfg), c.group(c.rdb, cfg)
			got := ids(c.read(a, 3))
			c.must(a.Close(c.ctx))
			c.same(ids(c.read(b, 3)), got)
			c.acks(b, got, 3)
			c.must(b.Close(c.ctx))
			for _, consumer := range c.rdb.XInfoConsumers(c.ctx, key, "g").Val() {
				if consumer.Name == b.Consumer() || consumer.Pending != 0 {
					c.failf("left behind: %+v", consumer)
				}
			}
		},
	},
	{
		"dead/atomic",
		"A dead letter has the entry's fields and the reason; copy and ack are atomic, and repeating adds no copy.",
		func(c *check, key string) {
			dead := c.key("dead")
			c.must(c.rdb.Do(c.ctx, "xadd", key, "*", "b", "1", "a", "2", "b", "3").Err())
			r := c.group(c.rdb, reader.GroupConfig{Key: key})
			id := c.read(r, 1)[0].ID
			for range 2 {
				c.must(
					r.Dead(c.ctx, dead, []reader.DeadLetter{{ID: id, Extra: redisio.Fields{field("why", "bad\x00")}}}),
				)
			}
			letters := c.all(dead)
			if len(letters) != 1 || len(letters[0].Fields) != 4 || string(letters[0].Fields[2].Value) != "3" ||
				string(letters[0].Fields[3].Value) != "bad\x00" {
				c.failf("letters %+v", letters)
			}
			c.settled(key)
		},
	},
	{"dead/refused", "An entry stays pending when its dead letter cannot be written.", func(c *check, key string) {
		text := c.key("text")
		c.add(key, 1)
		c.must(c.rdb.Set(c.ctx, text, "x", 0).Err())
		r := c.group(c.rdb, reader.GroupConfig{Key: key})
		got := ids(c.read(r, 1))
		if err := r.Dead(c.ctx, text, []reader.DeadLetter{{ID: got[0]}}); !fault.IsWrongType(err) {
			c.failf("got %v", err)
		}
		if len(c.pending(key)) != 1 || r.Held() != 1 {
			c.failf("%d pending, %d held", len(c.pending(key)), r.Held())
		}
	}},
	{"dead/fields", "A dead letter can have thousands of fields.", func(c *check, key string) {
		dead := c.key("dead")
		values := make([]string, 20_000)
		for i := range values {
			values[i] = "f"
		}
		c.must(c.rdb.XAdd(c.ctx, &redis.XAddArgs{Stream: key, Values: values}).Err())
		r := c.group(c.rdb, reader.GroupConfig{Key: key})
		id := c.read(r, 1)[0].ID
		c.must(r.Dead(c.ctx, dead, []reader.DeadLetter{{ID: id, Extra: redisio.Fields{field("why", "x")}}}))
		if letters := c.all(dead); len(letters) != 1 || len(letters[0].Fields) != 10_001 {
			c.failf("%d letters", len(letters))
		}
		c.settled(key)
	}},
	{
		"tombstone/reclaimed",
		"An entry deleted while it was pending elsewhere is settled and counted as lost.",
		func(c *check, key string) {
			want := c.add(key, 4)
			c.takenBy(key, "dead", 3)
			c.must(c.rdb.XDel(c.ctx, key, want[1]).Err())
			r := c.group(c.rdb, reader.GroupConfig{Key: key, Tuning: reader.Tuning{Lease: lease, ReclaimEvery: often}})
			got := ids(c.read(r, 3))
			if slices.Sort(got); !slices.Equal(got, []string{want[0], want[2], want[3]}) {
				c.failf("got %v of %v", got, want)
			}
			c.gone(r, key, want[1])
		},
	},
	{
		"tombstone/own",
		"An entry deleted while it was pending for an earlier life is settled and counted as lost.",
		func(c *check, key string) {
			want := c.add(key, 4)
			c.takenBy(key, "me", 3)
			c.must(c.rdb.XDel(c.ctx, key, want[1]).Err())
			r := c.group(c.rdb, reader.GroupConfig{Key: key, Consumer: "me", Tuning: reader.Tuning{Lease: time.Minute}})
			got := c.read(r, 2)
			c.acked(r, got) // entries that may have killed their reader block others until acked
			got = append(got, c.read(r, 1)...)
			if got := ids(got); !slices.Equal(got, []string{want[0], want[2], want[3]}) {
				c.failf("got %v of %v", got, want)
			}
			c.gone(r, key, want[1])
		},
	},
}

// gone reads until a deleted entry is no longer pending, and checks that it is counted.
func (c *check) gone(r *watched, key, id string) {
	c.until("the deleted entry is settled", func() bool {
		c.nothing(r, often)
		_, still := c.pending(key)[id]
		return !still
	})
	if n := r.saw(redisio.EventTrimmed); n != 1 {
		c.failf("%d reported as lost to deletion, want 1", n)
	}
}
