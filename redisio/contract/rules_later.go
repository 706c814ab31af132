package contract

import (
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/schedule"
)

var delayRules = []Rule{
	{"later/moved", "A scheduled entry is written once, when it is due, and not before.", func(c *check, _ string) {
		s, key := c.scheduler()
		const delay = 300 * time.Millisecond
		at := time.Now().Add(delay)
		c.must(s.Schedule(c.ctx, []schedule.Delayed{{ID: "a", At: at, Fields: redisio.Fields{field("n", "1")}},
			{ID: "b", At: at.Add(time.Hour), Fields: redisio.Fields{field("n", "2")}}}, make([]redisio.Result, 2)))
		if n, _, err := s.Move(c.ctx); n != 0 && time.Until(at) > 50*time.Millisecond || err != nil {
			c.failf("moved %d, %v before the time", n, err)
		}
		c.until("one is moved", func() bool {
			_, _, err := s.Move(c.ctx)
			c.must(err)
			return len(c.all(key)) > 0
		})
		_, next, err := s.Move(c.ctx)
		if early := time.Until(at); err != nil || early > 50*time.Millisecond || len(c.all(key)) != 1 ||
			next < 50*time.Minute {
			c.failf("%v early, %d entries, next in %v, %v", early, len(c.all(key)), next, err)
		}
	}},
	{"later/again", "Scheduling an entry again, before or after its time, writes it once.", func(c *check, _ string) {
		s, key := c.scheduler()
		entry := []schedule.Delayed{
			{ID: "a", At: time.Now().Add(-time.Minute), Fields: redisio.Fields{field("n", "1")}},
		}
		for range 3 {
			c.must(s.Schedule(c.ctx, entry, make([]redisio.Result, 1)))
			c.must(s.Schedule(c.ctx, entry, make([]redisio.Result, 1)))
			_, _, err := s.Move(c.ctx)
			c.must(err)
		}
		c.has(key, 1)
	}},
	{"later/cancelled", "An entry cancelled in time is not written.", func(c *check, _ string) {
		s, key := c.scheduler()
		c.must(
			s.Schedule(
				c.ctx,
				[]schedule.Delayed{
					{ID: "a", At: time.Now().Add(-time.Minute), Fields: redisio.Fields{field("n", "1")}},
				},
				make([]redisio.Result, 1),
			),
		)
		if n, err := s.Cancel(c.ctx, "a", "b"); n != 1 || err != nil {
			c.failf("cancelled %d, %v", n, err)
		}
		if n, _, err := s.Move(c.ctx); n != 0 || err != nil || len(c.all(key)) != 0 {
			c.failf("moved %d, %v", n, err)
		}
	}},
	{"later/read", "Readers of a group move the scheduled entries of their stream.", func(c *check, _ string) {
		s, key := c.scheduler()
		r := c.group(c.rdb, reader.GroupConfig{Key: key, Tuning: reader.Tuning{DelayedEvery: often}})
		c.must(
			s.Schedule(
				c.ctx,
				[]schedule.Delayed{
					{At: time.Now().Add(100 * time.Millisecond), Fields: redisio.Fields{field("n", "1")}},
				},
				make([]redisio.Result, 1),
			),
		)
		if got := c.read(r, 1); string(got[0].Fields[0].Value) != "1" {
			c.failf("got %+v", got)
		}
	}},
}

func (c *check) scheduler() (*schedule.Scheduler, string) {
	key := c.key("s")
	s, err := schedule.New(c.rdb, schedule.Config{Key: key})
	c.must(err)
	c.keys = append(c.keys, s.Keys()...)
	return s, key
}
