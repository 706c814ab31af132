package contract

import (
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/probe"
)

// The rules of newer commands: commands that the server reports work as expected. They are all
// optional.
var featureRules = []Rule{
	{"probe/same", "Probing a server returns the same result each time.", func(c *check, _ string) {
		one, err := probe.Probe(c.ctx, c.rdb)
		c.must(err)
		two, err := probe.Probe(c.ctx, c.rdb)
		if err != nil || one != two {
			c.failf("%+v and %+v, %v", one, two, err)
		}
	}},
	{
		"new/claim",
		"XREADGROUP CLAIM (8.4): entries with an expired lease are returned with new ones, with their delivery counts.",
		func(c *check, _ string) {
			c.needs("XREADGROUP CLAIM", func(p redisio.Capabilities) bool { return p.Claim })
			key := c.key("s")
			want := c.add(key, 2)
			c.takenBy(key, "dead", 1)
			c.must(c.rdb.Do(c.ctx, "xclaim", key, "g", "dead", 0, want[0], "idle", 60_000, "justid").Err())
			got, err := c.rdb.XReadGroup(c.ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "me", Streams: []string{key,
				">"}, Count: 10, Claim: 1000 * 1e6}).
				Result()
			if err != nil || len(got[0].Messages) != 2 || got[0].Messages[0].ID != want[0] ||
				got[0].Messages[0].DeliveredCount != 1 {
				c.failf("%+v, %v", got, err)
			}
		},
	},
	{
		"new/maxsize",
		"XREADGROUP MAXSIZE (8.10): a reply has bounded bytes and at least one entry.",
		func(c *check, _ string) {
			c.needs("XREADGROUP MAXSIZE", func(p redisio.Capabilities) bool { return p.MaxSize })
			key := c.key("s")
			c.add(key, 50)
			c.must(c.rdb.XGroupCreate(c.ctx, key, "g", "0").Err())
			read := []any{"xreadgroup", "group", "g", "me", "count", 50, "maxsize", 1, "streams", key, ">"}
			reply, err := c.rdb.Do(c.ctx, read...).Result()
			if n := len(c.pending(key)); err != nil || n != 1 {
				c.failf("%d delivered, %v: %v", n, err, reply)
			}
		},
	},
	{"new/xnack", "XNACK (8.8): entries given back can be claimed at once.", func(c *check, _ string) {
		c.needs("XNACK", func(p redisio.Capabilities) bool { return p.XNack })
		key := c.key("s")
		want := c.add(key, 1)
		c.takenBy(key, "me", 1)
		c.must(c.rdb.Do(c.ctx, "xnack", key, "g", "SILENT", "ids", 1, want[0]).Err())
		got, _, err := c.rdb.XAutoClaimJustID(c.ctx, &redis.XAutoClaimArgs{Stream: key, Group: "g", Consumer: "other",
			MinIdle: 1e12, Start: "0", Count: 10}).
			Result()
		if err != nil || len(got) != 1 {
			c.failf("%v, %v", got, err)
		}
	}},
	{
		"new/xackdel",
		"XACKDEL ACKED (8.2): an entry is deleted with the last group's ack, not before.",
		func(c *check, _ string) {
			c.needs("XACKDEL", func(p redisio.Capabilities) bool { return p.XAckDel })
			key := c.key("s")
			want := c.add(key, 1)
			c.must(c.rdb.XGroupCreate(c.ctx, key, "late", "0").Err())
			c.takenBy(key, "me", 1)
			for _, group := range []string{"g", "late"} {
				if n := len(c.all(key)); n != 1 {
					c.failf("%d entries before the ack of %s", n, group)
				}
				if group == "late" {
					read := redis.XReadGroupArgs{Group: group, Consumer: "me", Streams: []string{key, ">"}}
					c.must(c.rdb.XReadGroup(c.ctx, &read).Err())
				}
				c.must(c.rdb.Do(c.ctx, "xackdel", key, group, "ACKED", "ids", 1, want[0]).Err())
			}
			if n := len(c.all(key)); n != 0 {
				c.failf("%d entries when all groups have acked", n)
			}
		},
	},
	{"new/idmp", "XADD IDMP (8.6): a repeated write is stored once and returns the same ID.", func(c *check, _ string) {
		c.needs("XADD IDMP", func(p redisio.Capabilities) bool { return p.IDMP })
		key := c.key("s")
		var answers [2]string
		for i := range answers {
			id, err := c.rdb.Do(c.ctx, "xadd", key, "IDMP", "producer", "message", "*", "n", "1").Text()
			c.must(err)
			answers[i] = id
		}
		if n := len(c.all(key)); n != 1 || answers[0] != answers[1] {
			c.failf("%d entries, answers %v", n, answers)
		}
	}},
	{
		"new/waitaof",
		"WAITAOF (7.2): the server reports how many servers have synced to disk.",
		func(c *check, _ string) {
			switch err := c.rdb.Do(c.ctx, "waitaof", 0, 0, 1).Err(); {
			case fault.NoCommand(err):
				c.lacks("WAITAOF")
			default:
				c.must(err)
			}
		},
	},
}

// needs ends the rule if the server lacks a command.
func (c *check) needs(command string, has func(redisio.Capabilities) bool) {
	caps, err := probe.Probe(c.ctx, c.rdb)
	c.must(err)
	if !has(caps) {
		c.lacks(command)
	}
}
