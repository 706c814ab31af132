package contract

import (
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

var groupRules = []Rule{
	{"group/made", "A missing group is created with its stream; an existing one is used.", func(c *check, key string) {
		for range 2 {
			c.must(c.group(c.rdb, reader.GroupConfig{Key: key}).Close(c.ctx))
		}
		if groups, err := c.rdb.XInfoGroups(c.ctx, key).Result(); err != nil || len(groups) != 1 {
			c.failf("%+v, %v", groups, err)
		}
	}},
	{"group/start", "A new group begins at the configured start.", func(c *check, key string) {
		want := c.add(key, 3)
		at, err := redisio.ParseID(want[0])
		c.must(err)
		r := c.group(c.rdb, reader.GroupConfig{Key: key, Start: redisio.StartID(at)})
		if got := ids(c.read(r, 2)); !slices.Equal(got, want[1:]) {
			c.failf("got %v, want %v", got, want[1:])
		}
	}},
	{
		"heal/group",
		"A destroyed group is recreated at its position; entries held by readers are pending in it again.",
		func(c *check, key string) {
			want := c.add(key, 5)
			r := c.group(c.rdb, leased(key))
			got := ids(c.read(r, 3))
			c.must(c.rdb.XGroupDestroy(c.ctx, key, "g").Err())
			want = append(want, c.add(key, 1)...)
			got = append(got, ids(c.read(r, 3))...)
			if !slices.Equal(got, want) || r.saw(redisio.EventGroupRecreated) == 0 {
				c.failf("got %v, want %v", got, want)
			}
			c.acks(r, got, 6)
		},
	},
	{
		"heal/stream",
		"A stream deleted while a reader waits on it is read from its new beginning.",
		func(c *check, key string) {
			c.add(key, 3)
			r := c.group(
				c.rdb,
				reader.GroupConfig{Key: key, Tuning: reader.Tuning{Block: time.Second, Lease: time.Minute}},
			)
			c.acks(r, ids(c.read(r, 3)), 3)
			type result struct {
				b   redisio.Batch
				err error
			}
			done := make(chan result, 1)
			go func() {
				var res result
				res.err = r.Read(c.ctx, 10, 0, &res.b)
				done <- res
			}()
			c.nothingFor(50 * time.Millisecond)
			c.must(c.rdb.Del(c.ctx, key).Err())
			id := c.add(key, 1)[0]
			if res := <-done; res.err != nil || res.b.Entries[0].ID != id {
				c.failf("got %v, %v, want %s", ids(res.b.Entries), res.err, id)
			}
		},
	},
	{"reap/pending", "Old consumers are deleted, but never with pending entries.", func(c *check, key string) {
		want := c.add(key, 1)
		c.takenBy(key, "holder", 1)
		c.must(c.rdb.XGroupCreateConsumer(c.ctx, key, "g", "idler").Err())
		c.group(
			c.rdb,
			reader.GroupConfig{
				Key:    key,
				Tuning: reader.Tuning{Lease: 90 * time.Millisecond, ReapAfter: time.Millisecond},
			},
		) // it never reads
		has := func(name string) bool {
			return slices.ContainsFunc(
				c.rdb.XInfoConsumers(c.ctx, key, "g").Val(),
				func(x redis.XInfoConsumer) bool { return x.Name == name },
			)
		}
		c.until("the idler is deleted", func() bool { return !has("idler") })
		if !has("holder") || c.pending(key)[want[0]].Consumer != "holder" {
			c.failf("pending %+v", c.pending(key))
		}
	}},
	{"info/lag", "The numbers of pending and unread entries are reported.", func(c *check, key string) {
		c.add(key, 10)
		r := c.group(c.rdb, reader.GroupConfig{Key: key})
		got := ids(c.read(r, 4))
		info, err := r.Info(c.ctx)
		if err != nil || info.Pending != 4 || info.Lag != 6 || info.Oldest != got[0] || info.Length != 10 {
			c.failf("%+v, %v", info, err)
		}
	}},
	{
		"trim/needed",
		"Trimming entries that all groups have settled drops nothing that a group has pending or unread.",
		func(c *check, key string) {
			want := c.add(key, 10)
			r := c.group(c.rdb, reader.GroupConfig{Key: key})
			got := ids(c.read(r, 6))
			c.acks(r, slices.Delete(slices.Clone(got), 3, 4), 5)
			if n, err := admin.Trim(c.ctx, c.rdb, key, admin.TrimOptions{Exact: true}); n != 3 || err != nil {
				c.failf("trimmed %d, %v, want 3", n, err)
			}
			if left := ids(c.all(key)); !slices.Equal(left, want[3:]) {
				c.failf("left %v, want %v", left, want[3:])
			}
		},
	},
}

// nothingFor sleeps while something invisible happens on the server.
func (c *check) nothingFor(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.ctx.Done():
	}
}
