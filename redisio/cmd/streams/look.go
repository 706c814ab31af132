package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
)

var lsCommand = command{
	name: "ls", args: "[PATTERN]", max: 1,
	short: "list streams",
	long: "Lists the streams whose keys match a glob pattern (all without one). It scans in small steps, so it " +
		"does not block\nother clients, but many other keys make it slow. A key that is not text is shown as in a " +
		"shell's $'…', such as\norders\\xff; with -json also in keyBase64.",
	examples: []string{"ls", "ls 'orders*'", "ls -json | jq -r .key"},
	flags: func(fs *flag.FlagSet) func(*call) error {
		limit := fs.Int("limit", 10_000, "list at most `n` streams")
		return func(c *call) error { return ls(c, *limit) }
	},
}

func ls(c *call, limit int) error {
	if limit < 1 {
		return usagef("-limit %d: it must be at least 1", limit)
	}
	pattern := ""
	if len(c.args) > 0 {
		pattern = c.args[0]
	}
	var keys []string
	more := false
	for key, err := range admin.Streams(c.ctx, c.rdb, pattern) {
		if err != nil {
			return err
		}
		if len(keys) == limit {
			slices.Sort(keys)
			keys = slices.Compact(keys) // a scan may return a key twice
			if more = len(keys) == limit; more {
				break
			}
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	c.out.row("KEY", "ENTRIES", "GROUPS", "FIRST", "LAST")
	for chunk := range slices.Chunk(keys, 100) {
		states, err := admin.InspectStreams(c.ctx, c.rdb, chunk...)
		if err != nil {
			return err
		}
		for _, s := range states {
			if !s.Exists {
				continue // deleted meanwhile
			}
			c.out.row(s.Key, num(s.Length), num(s.Groups), s.First, s.Last)
			if err := c.out.object(struct {
				Key     string `json:"key"`
				Binary  string `json:"keyBase64,omitempty"`
				Entries int64  `json:"entries"`
				Groups  int64  `json:"groups"`
				First   string `json:"first,omitempty"`
				Last    string `json:"last,omitempty"`
			}{s.Key, binary(s.Key), s.Length, s.Groups, s.First, s.Last}); err != nil {
				return err
			}
		}
	}
	if more {
		c.note("first %d streams only: narrow the pattern or raise -limit", limit)
	}
	return nil
}

var groupsCommand = command{
	name: "groups", args: "KEY", min: 1, max: 1,
	short: "show the groups of a stream and their consumers",
	long: "Shows each group: its position, how many entries are undelivered (LAG) and unsettled (PENDING), and " +
		"how long\nthe oldest ones have waited; then its consumers. A lag with ≥ is counted, because the server " +
		"does not know it (after\nentries were deleted or a position was set). Before Redis 7.2 a consumer that " +
		"waits for entries looks idle.",
	examples: []string{"groups orders", "groups orders -json"},
	flags: func(*flag.FlagSet) func(*call) error {
		return groups
	},
}

// jsonGroup is a group in JSON. Durations are in milliseconds.
type jsonGroup struct {
	Time       *time.Time     `json:"time,omitempty"`
	Key        string         `json:"key"`
	Binary     string         `json:"keyBase64,omitempty"`
	Group      string         `json:"group"`
	BinaryName string         `json:"groupBase64,omitempty"`
	Lag        int64          `json:"lag"`
	LagAtLeast bool           `json:"lagAtLeast,omitempty"`
	UnreadAge  int64          `json:"oldestUnreadMs"`
	Pending    int64          `json:"pending"`
	Oldest     string         `json:"oldestPending,omitempty"`
	OldestAge  int64          `json:"oldestPendingMs"`
	Position   string         `json:"position"`
	Consumers  []jsonConsumer `json:"consumers"`
}

type jsonConsumer struct {
	Name    string `json:"name"`
	Binary  string `json:"nameBase64,omitempty"`
	Pending int64  `json:"pending"`
	Idle    int64  `json:"idleMs"`
}

func asJSON(key string, g admin.GroupState) jsonGroup {
	j := jsonGroup{
		Key: key, Binary: binary(key), Group: g.Name, BinaryName: binary(g.Name), Lag: g.Lag, LagAtLeast: g.LagAtLeast,
		UnreadAge: g.UnreadAge.Milliseconds(), Pending: g.Pending,
		Oldest: g.Oldest, OldestAge: g.OldestAge.Milliseconds(), Position: g.Delivered, Consumers: []jsonConsumer{},
	}
	for _, m := range g.Members {
		j.Consumers = append(j.Consumers, jsonConsumerOf(m))
	}
	return j
}

func jsonConsumerOf(m admin.ConsumerState) jsonConsumer {
	return jsonConsumer{m.Name, binary(m.Name), m.Pending, m.Idle.Milliseconds()}
}

func groups(c *call) error {
	all, err := admin.Groups(c.ctx, c.rdb, c.args[0])
	if err != nil {
		return err
	}
	for _, g := range all {
		if err := c.out.object(asJSON(c.args[0], g)); err != nil {
			return err
		}
	}
	if len(all) == 0 && !c.out.json {
		c.note("%q has no groups", c.args[0])
		return nil
	}
	c.out.row("GROUP", "POSITION", "LAG", "OLDEST UNREAD", "PENDING", "OLDEST PENDING", "CONSUMERS")
	for _, g := range all {
		c.out.row(
			g.Name,
			g.Delivered,
			atLeast(g.Lag, g.LagAtLeast),
			shortOf(g.Unread != "", g.UnreadAge),
			num(g.Pending),
			shortOf(g.Oldest != "", g.OldestAge),
			num(g.Consumers),
		)
	}
	c.out.line("")
	c.out.row("GROUP", "CONSUMER", "PENDING", "IDLE")
	for _, g := range all {
		for _, m := range g.Members {
			c.out.row(g.Name, m.Name, num(m.Pending), short(m.Idle))
		}
	}
	return nil
}

var lagCommand = command{
	name: "lag", args: "KEY [GROUP]", min: 1, max: 2,
	short: "show how far groups are behind",
	long: "Shows for each group, or for one, how many entries are undelivered and unsettled, " +
		"and how old the oldest of\n" +
		"both are. With -max it is a check for scripts and probes: it exits with code 3 if a lag is greater.",
	examples: []string{"lag orders", "lag orders billing -watch", "lag orders billing -max 1000 || alert"},
	flags: func(fs *flag.FlagSet) func(*call) error {
		watch := fs.Bool("watch", false, "repeat until Ctrl-C")
		every := fs.Duration("every", 2*time.Second, "with -watch: how often")
		most := fs.Int64("max", -1, "exit with code 3 if a lag is greater than `n`")
		return func(c *call) error { return lag(c, *watch, *every, *most) }
	},
}

func lag(c *call, watch bool, every time.Duration, most int64) error {
	if every < 100*time.Millisecond {
		return usagef("-every %v: at least 100ms", every)
	}
	if watch {
		c.out.wide()
	}
	for n := 0; ; n++ {
		over, err := lagOnce(c, n == 0, watch)
		if err != nil {
			if watch && c.ctx.Err() != nil {
				return nil
			}
			return err
		}
		if !watch {
			if most >= 0 && over > most {
				return fmt.Errorf("%w: a lag of %d is more than %d", errRefused, over, most)
			}
			return nil
		}
		if err := c.out.flush(); err != nil {
			return err
		}
		t := time.NewTimer(every)
		select {
		case <-t.C:
		case <-c.ctx.Done():
			t.Stop()
			return nil // the normal end of watching
		}
	}
}

// lagOnce shows the lag now and returns the greatest.
func lagOnce(c *call, header, watch bool) (greatest int64, err error) {
	all, err := lagging(c)
	if err != nil {
		return 0, err
	}
	if header {
		c.out.row("TIME", "GROUP", "LAG", "OLDEST UNREAD", "PENDING", "OLDEST PENDING")
	}
	now := time.Now()
	for _, g := range all {
		greatest = max(greatest, g.Lag)
		j := asJSON(c.args[0], g)
		if watch {
			utc := now.UTC()
			j.Time = &utc
		}
		c.out.row(now.In(c.out.zone).Format("15:04:05Z07:00"), g.Name, atLeast(g.Lag, g.LagAtLeast),
			shortOf(g.Unread != "", g.UnreadAge), num(g.Pending), shortOf(g.Oldest != "", g.OldestAge))
		if err := c.out.object(j); err != nil {
			return 0, err
		}
	}
	return greatest, nil
}

// lagging returns the requested groups.
func lagging(c *call) ([]admin.GroupState, error) {
	if len(c.args) == 1 {
		return admin.Groups(c.ctx, c.rdb, c.args[0])
	}
	g, err := c.group()
	return []admin.GroupState{g}, err
}

// group returns the group that the arguments name.
func (c *call) group() (admin.GroupState, error) {
	g, err := admin.FindGroup(c.ctx, c.rdb, c.args[0], c.args[1])
	if errors.Is(err, redisio.ErrNoGroup) {
		err = fmt.Errorf("%q has no group %q", c.args[0], c.args[1])
	}
	return g, err
}
