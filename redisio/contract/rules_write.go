package contract

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// writer opens a writer and closes it at the end of the rule.
func (c *check) writer(rdb redis.UniversalClient, cfg writer.Config) *writer.Writer {
	w, err := writer.New(rdb, cfg)
	c.must(err)
	c.must(w.Open(c.ctx))
	c.cleanup = append(c.cleanup, func() { _ = w.Close(c.ctx) })
	return w
}

// write writes n entries.
func (c *check) write(w *writer.Writer, n int) error {
	return w.Write(c.ctx, outgoing(n), make([]redisio.Result, n))
}

func outgoing(n int) []redisio.Outgoing {
	out := make([]redisio.Outgoing, n)
	for i := range out {
		out[i].Fields = redisio.Fields{{Name: "n", Value: fmt.Append(nil, i)}}
	}
	return out
}

var writeRules = []Rule{
	{"write/order", "Entries are written in order, and each reply is the entry's ID.", func(c *check, key string) {
		w := c.writer(c.rdb, writer.Config{Key: key, Tuning: writer.Tuning{Depth: 16}})
		results := make([]redisio.Result, 100)
		c.must(w.Write(c.ctx, outgoing(100), results))
		for i, e := range c.all(key) {
			if e.ID != results[i].ID || string(e.Fields[0].Value) != fmt.Sprint(i) {
				c.failf("entry %d is %s with %q, its answer was %s", i, e.ID, e.Fields[0].Value, results[i].ID)
			}
		}
	}},
	{"write/neighbours", "A refused entry is reported and does not affect its neighbours.", func(c *check, key string) {
		text := c.key("text")
		c.must(c.rdb.Set(c.ctx, text, "x", 0).Err())
		w := c.writer(c.rdb, writer.Config{Key: key})
		out, results := outgoing(4), make([]redisio.Result, 4)
		out[1].Key = text
		out[2].Fields = nil
		if err := w.Write(c.ctx, out, results); !errors.Is(err, redisio.ErrNotWritten) {
			c.failf("got %v", err)
		}
		for i, bad := range []bool{false, true, true, false} {
			if (results[i].Err != nil) != bad || bad != errors.Is(results[i].Err, redisio.ErrNotWritten) {
				c.failf("result %d: %+v", i, results[i])
			}
		}
		c.has(key, 2)
	}},
	{
		"write/unknown",
		"A write whose reply was lost is reported as unknown, and not repeated.",
		func(c *check, key string) {
			l, rdb := c.line()
			w := c.writer(rdb, writer.Config{Key: key})
			l.loseReply("xadd")
			if err := c.write(w, 3); !errors.Is(err, redisio.ErrUnknownOutcome) {
				c.failf("got %v", err)
			}
			if n := len(c.all(key)); n != 3 || l.losses() != 1 {
				c.failf("%d entries, want each once", n)
			}
		},
	},
	{"write/trims", "A bounded stream stays within its bound: exactly, if configured.", func(c *check, key string) {
		w := c.writer(c.rdb, writer.Config{Key: key, MaxLen: 10, Tuning: writer.Tuning{Exact: true}})
		c.must(c.write(w, 50))
		left := c.all(key)
		if len(left) != 10 || string(left[0].Fields[0].Value) != "40" {
			c.failf("%d entries are left", len(left))
		}
		by := c.writer(c.rdb, writer.Config{Key: key, Tuning: writer.Tuning{MinID: left[5].ID, Exact: true}})
		c.must(c.write(by, 1))
		c.has(key, 6)
	}},
	{"write/roughly", "An approximately bounded stream keeps at least its bound.", func(c *check, key string) {
		w := c.writer(c.rdb, writer.Config{Key: key, MaxLen: 100})
		c.must(c.write(w, 1000))
		if n := len(c.all(key)); n < 100 || n > 400 {
			c.failf("%d entries are left, want 100 or some more", n)
		}
	}},
	{
		"write/unread",
		"A bounded stream keeps what a group has not settled, however long it gets, until it has.",
		func(c *check, key string) {
			r := c.group(c.rdb, reader.GroupConfig{Key: key})
			w := c.writer(c.rdb, writer.Config{Key: key, MaxLen: 10, Tuning: writer.Tuning{Exact: true}})
			c.must(c.write(w, 50))
			if n := len(c.all(key)); n != 50 {
				c.failf("%d of 50 are left, and none was read", n)
			}
			c.acks(r, ids(c.read(r, 50)), 50)
			c.must(c.write(w, 1))
			if n := len(c.all(key)); n > 12 {
				c.failf("%d are left, want 10", n)
			}
		},
	},
	{
		"write/once",
		"Within the window, a repeated entry is stored once and reported as duplicate.",
		func(c *check, key string) {
			c.keys = append(c.keys, key+":once")
			w := c.writer(c.rdb, writer.Config{Key: key, DedupeWindow: time.Minute})
			for again := range 3 {
				out, results := outgoing(5), make([]redisio.Result, 5)
				for i := range out {
					out[i].DedupeID = fmt.Sprint("message ", i)
				}
				c.must(w.Write(c.ctx, out, results))
				for i := range results {
					if results[i].Duplicate != (again > 0) {
						c.failf("time %d: %+v", again, results[i])
					}
				}
			}
			c.has(key, 5)
		},
	},
	{
		"write/once-unknown",
		"A write whose reply was lost is stored once when it is repeated.",
		func(c *check, key string) {
			c.keys = append(c.keys, key+":once")
			l, rdb := c.line()
			w := c.writer(rdb, writer.Config{Key: key, DedupeWindow: time.Minute})
			out := outgoing(5)
			for i := range out {
				out[i].DedupeID = fmt.Sprint("message ", i)
			}
			l.loseReply(key) // whichever command contains it
			if err := w.Write(c.ctx, out, make([]redisio.Result, 5)); !errors.Is(err, redisio.ErrUnknownOutcome) {
				c.failf("got %v", err)
			}
			c.must(w.Write(c.ctx, out, make([]redisio.Result, 5)))
			if n := len(c.all(key)); n != 5 || l.losses() != 1 {
				c.failf("%d entries, want 5", n)
			}
		},
	},
	{"write/capped", "A full stream refuses entries, or blocks, until groups settle some.", func(c *check, key string) {
		r := c.group(c.rdb, reader.GroupConfig{Key: key})
		w := c.writer(
			c.rdb,
			writer.Config{Key: key, Tuning: writer.Tuning{HardCap: 20, WhenFull: writer.FullRefuse, Depth: 5}},
		)
		var err error
		for n := 0; err == nil && n < 20; n++ {
			err = c.write(w, 5)
		}
		if n := len(c.all(key)); !errors.Is(err, redisio.ErrNotWritten) || n < 20 || n > 25 {
			c.failf("%d entries, %v", n, err)
		}
		if _, err := r.Ack(c.ctx, ids(c.read(r, 20))); err != nil {
			c.failf("%v", err)
		}
		c.until(
			"there is room again",
			func() bool { return c.write(w, 5) == nil },
		)
	}},
}
