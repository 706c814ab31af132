package contract

import (
	"errors"
	"io"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

var readRules = []Rule{
	{
		"read/order",
		"Entries are read in order, fields in order, and count as delivered once.",
		func(c *check, key string) {
			c.must(c.rdb.Do(c.ctx, "xadd", key, "*", "k", "1", "z", "", "k", "2", "a", "\x00\r\n").Err())
			want := c.add(key, 20)
			r := c.group(c.rdb, reader.GroupConfig{Key: key})
			got := c.read(r, 21)
			f := got[0].Fields
			if len(f) != 4 || f[2].Name != "k" || string(f[2].Value) != "2" || string(f[3].Value) != "\x00\r\n" ||
				f[1].Name != "z" {
				c.failf("fields %+v", f)
			}
			if !slices.Equal(ids(got[1:]), want) || got[20].Deliveries != 1 {
				c.failf("got %v, want %v", ids(got[1:]), want)
			}
		},
	},
	{
		"read/bounded",
		"A read returns at most the requested number of entries, and the rest stays unread.",
		func(c *check, key string) {
			want := c.add(key, 50)
			r := c.group(c.rdb, reader.GroupConfig{Key: key})
			var b redisio.Batch
			c.must(r.Read(c.ctx, 7, 0, &b))
			if n := len(c.pending(key)); len(b.Entries) != 7 || n != 7 || b.Entries[6].ID != want[6] {
				c.failf("%d came and %d are pending, want 7", len(b.Entries), n)
			}
		},
	},
	{"read/waits", "A read blocks on the server, and returns entries written meanwhile.", func(c *check, key string) {
		r := c.group(c.rdb, reader.GroupConfig{Key: key, Tuning: reader.Tuning{Block: time.Second}})
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
		id := c.add(key, 1)[0]
		if res := <-done; res.err != nil || res.b.Entries[0].ID != id {
			c.failf("got %v, %v, want %s", ids(res.b.Entries), res.err, id)
		}
	}},
	{"read/shared", "Readers of a group share its entries: one reader receives each.", func(c *check, key string) {
		want := c.add(key, 40)
		a, b := c.group(c.rdb, reader.GroupConfig{Key: key}), c.group(c.rdb, reader.GroupConfig{Key: key})
		var got []string
		for range 4 {
			got = append(got, ids(c.read(a, 5))...)
			got = append(got, ids(c.read(b, 5))...)
		}
		c.same(got, want)
		c.nothing(a, 100*time.Millisecond)
	}},
	{
		"read/lost-reply",
		"Entries of a lost reply are returned first, as delivered once; entries already held are not.",
		func(c *check, key string) {
			l, rdb := c.line()
			r := c.group(rdb, leased(key))
			held := ids(c.read(r, len(c.add(key, 5))))
			want := c.add(key, 20)
			l.loseReply("xreadgroup")
			got := c.read(r, 20)
			if !slices.Equal(ids(got), want) || l.losses() != 1 {
				c.failf("got %v, want %v; %d replies lost", ids(got), want, l.losses())
			}
			for id, p := range c.pending(key) {
				if p.RetryCount != 1 {
					c.failf("%s is counted as delivered %d times", id, p.RetryCount)
				}
			}
			c.acks(r, append(held, want...), 25)
		},
	},
	{
		"read/former-life",
		"A named reader first receives the entries that its earlier run left pending, as redelivered.",
		func(c *check, key string) {
			want := c.add(key, 4)
			c.takenBy(key, "me", 3)
			r := c.group(c.rdb, reader.GroupConfig{Key: key, Consumer: "me", Tuning: reader.Tuning{Lease: time.Minute}})
			got := c.read(r, 3)
			c.acked(r, got) // entries that may have killed their reader keep others waiting
			got = append(got, c.read(r, 1)...)
			for i, n := range []int64{2, 2, 2, 1} {
				if got[i].ID != want[i] || got[i].Deliveries != n {
					c.failf("entry %d: %s at delivery %d, want %s at %d", i, got[i].ID, got[i].Deliveries, want[i], n)
				}
			}
		},
	},
	{"read/no-ack", "Reading at most once leaves nothing pending.", func(c *check, key string) {
		want := c.add(key, 3)
		r := c.group(c.rdb, reader.GroupConfig{Key: key, AtMostOnce: true})
		c.same(ids(c.read(r, 3)), want)
		c.settled(key)
	}},
	{
		"tail/end",
		"A tail fixes the end when it is opened: it reads everything written afterwards, and nothing before.",
		func(c *check, key string) {
			c.add(key, 3)
			r, err := reader.NewTail(
				c.rdb,
				reader.TailConfig{Key: key, Start: redisio.StartEnd(), Block: 5 * time.Millisecond},
			)
			c.must(err)
			c.must(r.Open(c.ctx))
			defer r.Close(c.ctx)
			c.nothing(r, 50*time.Millisecond) // several reads: "$" sent with each would skip what comes between two
			var want, got []string
			for range 20 {
				want = append(want, c.add(key, 1)...)
			}
			if got = ids(c.read(r, 20)); !slices.Equal(got, want) {
				c.failf("got %v, want %v", got, want)
			}
			if groups := c.rdb.XInfoGroups(c.ctx, key).Val(); len(groups) != 0 {
				c.failf("it left a group behind: %+v", groups)
			}
		},
	},
	{
		"tail/beginning",
		"A tail from the beginning or behind an entry reads the rest in pages.",
		func(c *check, key string) {
			want := c.add(key, 30)
			at, err := redisio.ParseID(want[9])
			c.must(err)
			for start, from := range map[redisio.Start]int{redisio.StartBeginning(): 0, redisio.StartID(at): 10} {
				r, err := reader.NewTail(
					c.rdb,
					reader.TailConfig{Key: key, Start: start, MaxCount: 7, Block: 10 * time.Millisecond},
				)
				c.must(err)
				c.must(r.Open(c.ctx))
				got := ids(c.read(r, 30-from))
				c.must(r.Close(c.ctx))
				c.same(got, want[from:])
			}
		},
	},
	{"range/pages", "A range is read page by page, both ends included, and then ends.", func(c *check, key string) {
		want := c.add(key, 30)
		from, err := redisio.ParseID(want[3])
		c.must(err)
		to, err := redisio.ParseID(want[25])
		c.must(err)
		r, err := reader.NewRange(c.rdb, reader.RangeConfig{Key: key, From: from, To: to, MaxCount: 10})
		c.must(err)
		c.must(r.Open(c.ctx))
		var b redisio.Batch
		got := ids(c.read(r, 23))
		if err := r.Read(c.ctx, 10, 0, &b); !errors.Is(err, io.EOF) || !slices.Equal(got, want[3:26]) {
			c.failf("got %v and %v, want %v and the end", got, err, want[3:26])
		}
	}},
	{"read/wrong-type", "A key that is not a stream is a permanent error.", func(c *check, key string) {
		c.must(c.rdb.Set(c.ctx, key, "x", 0).Err())
		r, err := reader.NewGroup(c.rdb, reader.GroupConfig{Key: key, Group: "g"})
		c.must(err)
		if err := r.Open(c.ctx); !redisio.IsPermanent(err) || !fault.IsWrongType(err) {
			c.failf("got %v", err)
		}
	}},
}
